"""Run with: python3 -m unittest"""

import unittest

import plugin
from sluicegate import testing

CASE = "5d0c7a1e-4b8f-4f0e-9a63-c2f1d7b85e46"


def change(priority, **options):
    columns = {"prioritycode": testing.choice(priority), "title": "The scale is off"}
    return testing.record("incident", columns, id=CASE, **options)


class Changes(unittest.TestCase):
    def setUp(self):
        self.host = testing.Host(config={"urgent": "1, 9"})

    def told(self, event):
        called = self.host.call(plugin.handle, event)
        self.assertEqual(called.outcome, "done", called.message)
        [told] = called.emitted
        self.assertEqual(told.subject, "d365.custom.contoso.business.case.changed")
        return told.data, called.logs

    def test_each_change_has_the_next_number_and_what_was_before(self):
        first, _ = self.told(change(2, message="Create"))
        second, logs = self.told(change(1))
        self.assertEqual((first["change"], second["change"]), (1, 2))
        self.assertEqual(first["before"], {"priority": None, "status": None})
        self.assertEqual(second["before"]["priority"], 2)
        self.assertEqual(second["after"]["priority"], 1)
        self.assertTrue(second["urgent"])
        self.assertEqual(logs, [("warn", f"case {CASE} is urgent now")])

    def test_a_column_that_was_not_touched_stays_and_one_that_was_cleared_does_not(self):
        self.told(change(2))
        untouched, _ = self.told(testing.record("incident", {"title": "x"}, id=CASE))
        self.assertEqual(untouched["after"]["priority"], 2)
        cleared, _ = self.told(testing.record("incident", {"prioritycode": None}, id=CASE))
        self.assertIsNone(cleared["after"]["priority"])

    def test_a_deleted_case_begins_anew(self):
        self.told(change(2))
        self.told(change(2, message="Delete"))
        again, _ = self.told(change(3, message="Create"))
        self.assertEqual(again["change"], 1)

    def test_a_case_without_an_id_is_rejected(self):
        nobody = "00000000-0000-0000-0000-000000000000"
        called = self.host.call(plugin.handle, testing.record("incident", {}, id=nobody))
        self.assertEqual(called.outcome, "reject")
        self.assertIn("has no id", called.message)
        self.assertEqual(self.host.state, {})


if __name__ == "__main__":
    unittest.main()
