import { expect, it } from "vitest";
import { alerting } from "./alerts";

type NodeEvent = Parameters<typeof alerting>[0][number];

it("alerts nobody to a state that has ended since", () => {
  const e = (seq: number, kind: string, severity = "warning", deviceId?: string) =>
    ({ seq, time: seq, kind, severity, message: kind, data: { deviceId } }) as unknown as NodeEvent;
  const seqs = (list: NodeEvent[]) => alerting(list).map((x) => x.seq);
  const paused = e(1, "planner.paused");
  expect(seqs([paused])).toEqual([1]);
  expect(seqs([paused, e(2, "planner.resumed", "info")])).toEqual([]);
  expect(seqs([paused, e(2, "planner.resumed", "info"), e(3, "planner.paused")])).toEqual([3]);
  const lost = [e(1, "peer.state", "warning", "a"), e(2, "peer.state", "warning", "b")];
  expect(seqs([...lost, e(3, "peer.connect", "info", "a")])).toEqual([2]);
  const alert = (seq: number, kind: string, id: number) =>
    ({ ...e(seq, kind), data: { alert: id } }) as unknown as NodeEvent;
  expect(
    seqs([alert(1, "alert.began", 7), alert(2, "alert.began", 8), alert(3, "alert.ended", 7)]),
  ).toContain(2);
  expect(seqs([alert(1, "alert.began", 7), alert(3, "alert.ended", 7)])).not.toContain(1);
  expect(seqs([e(1, "actuator.unsafe", "critical"), e(2, "estop.engaged", "critical")])).toEqual([1, 2]);
});
