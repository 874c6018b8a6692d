/** The painter beside the page: it is sent what to paint and from where, and paints once a frame. */
import { Painter, type Scene, type View } from "./painter";

/** What it is told; the canvases come first, once. */
export interface Told {
  canvases?: readonly [OffscreenCanvas, OffscreenCanvas];
  scene?: Scene;
  view?: View;
}

let painter: Painter | undefined;
let view: View | undefined;
let frame = 0;

// Not every engine gives a worker the frames of its page.
const soon = (act: () => void): number =>
  typeof requestAnimationFrame === "function" ? requestAnimationFrame(act) : Number(setTimeout(act, 16));

const paint = () => {
  frame = 0;
  if (view) painter?.paint(view);
};

self.onmessage = ({ data }: MessageEvent<Told>) => {
  try {
    if (data.canvases) {
      painter = new Painter(...data.canvases);
      data.canvases[0].addEventListener("webglcontextlost", () => self.postMessage("lost"));
      self.postMessage("ready");
    }
    if (data.scene) painter?.take(data.scene);
    if (data.view) view = data.view;
    if (!frame) frame = soon(paint);
  } catch {
    self.postMessage("lost");
  }
};
