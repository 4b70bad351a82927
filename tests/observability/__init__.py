"""Tests of the reports to DataKitchen Observability."""
