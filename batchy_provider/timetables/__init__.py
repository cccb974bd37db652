# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""The timetable that runs a DAG by a calendar of business days and holidays."""

from batchy_provider.timetables.calendar import CalendarTimetable as CalendarTimetable
