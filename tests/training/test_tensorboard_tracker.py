"""TensorBoard shows each epoch of a run once, however many sessions it had."""

import pytest

from ecg_siglip.training.tensorboard_tracker import TensorBoardTracker


def test_a_resumed_run_has_one_curve(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for losses in ([0.5, 0.4], [0.5, 0.4, 0.25]):  # the second session gets all epochs again
        tracker = TensorBoardTracker(tmp_path)
        tracker.start({"optim.lr": "0.002"}, {"data": "150 records"})
        for epoch, loss in enumerate(losses, start=1):
            tracker.log({"loss": loss}, epoch)
        tracker.log({"tune/ece": 0.0625})
        tracker.close("finished")
    assert tracker.id == ""
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    points = [(event.step, event.value) for event in shown.Scalars("loss")]
    assert points == [(1, 0.5), (2, pytest.approx(0.4)), (3, 0.25)]
    assert [event.step for event in shown.Scalars("tune/ece")] == [3]
    *_, text = shown.Tensors("settings/text_summary")
    assert b"| optim.lr | 0.002 |" in text.tensor_proto.string_val[0]
