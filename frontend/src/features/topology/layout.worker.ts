/** The layout beside the page: it may take its time, and the page never waits for it. */
import { type Asked, layout } from "./model";

/** A worker answers once and is then ended by who asked. */
self.onmessage = ({ data }: MessageEvent<Asked>) => {
  const work = layout(data);
  while (!work.run(1_000));
  self.postMessage(work.spots());
};
