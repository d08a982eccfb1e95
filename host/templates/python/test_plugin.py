"""Run with: python3 -m unittest"""

import unittest
from decimal import Decimal

import plugin
from sluicegate import testing


class Limits(unittest.TestCase):
    def setUp(self):
        self.host = testing.Host(config={"limit": "50000"})

    def test_a_limit_over_the_bound_is_told_once_for_each_change(self):
        change = testing.record("account", {"creditlimit": testing.money("50000.0001")})
        for times in (1, 2):
            called = self.host.call(plugin.handle, change)
            self.assertEqual(called.outcome, "done")
            [told] = called.emitted
            self.assertEqual(told.subject, "d365.custom.contoso.business.{{name}}.raised")
            expected = {"name": None, "limit": Decimal("50000.0001"), "times": times}
            self.assertEqual(told.data, expected)

    def test_nothing_is_told_of_a_limit_within_the_bound_or_of_another_column(self):
        for change in (
            testing.record("account", {"creditlimit": testing.money("50000.0000")}),
            testing.record("account", {"name": "Contoso"}),
            testing.record("account", message="Delete"),
        ):
            called = self.host.call(plugin.handle, change)
            self.assertEqual((called.outcome, called.emitted), ("done", []))

    def test_what_cannot_be_read_is_rejected(self):
        called = self.host.call(plugin.handle, testing.event("t", b"no JSON"))
        self.assertEqual(called.outcome, "reject")
        self.assertIn("is not JSON", called.message)


if __name__ == "__main__":
    unittest.main()
