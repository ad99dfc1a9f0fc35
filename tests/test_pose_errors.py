"""Pose errors: by hand, by protocol, and at profile, where angles say little and the rotation says all."""

import numpy as np
import pytest

from prnet.evaluating.pose_errors import compared, geodesic, pose_errors


def test_errors_by_hand():
    truth = np.array([[0.0, 0, 0], [10, 20, 30]])
    found = pose_errors(truth + [[3, 0, 0], [0, -6, 0]], truth)
    assert (found.images, found.pitch, found.yaw, found.roll) == (2, 1.5, 3, 0)
    assert found.mean == pytest.approx(1.5)
    assert geodesic(truth + [3, 0, 0], truth)[0] == pytest.approx(3)


def test_a_full_turn_is_no_error():
    assert pose_errors(np.array([[179.0, 0, 0]]), np.array([[-179.0, 0, 0]])).pitch == pytest.approx(2)
    assert pose_errors(np.array([[170.0, 0, 0]]), np.array([[-200.0, 0, 0]])).pitch == pytest.approx(10)


@pytest.mark.parametrize("side", [1, -1])
def test_an_upright_profile_may_report_pitch_and_roll_that_cancel(side):
    truth, predicted = np.array([[0.0, side * 88, 0]]), np.array([[-41.0, side * 88, -41.0 * side]])
    assert pose_errors(predicted, truth).pitch == 41
    assert geodesic(predicted, truth)[0] < 2


def test_protocols_leave_out_what_they_say():
    truth = np.array([[0.0, 99, 0], [0, 0, -100], [0, 10, 0]])
    assert compared(truth, "all").tolist() == [True, True, True]
    assert compared(truth, "99-degrees").tolist() == [True, False, True]
    assert compared(truth, "skip-list", np.array([True, False, False])).tolist() == [False, False, True]
    with pytest.raises(ValueError, match="needs a list"):
        compared(truth, "skip-list")
