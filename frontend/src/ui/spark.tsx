import { type Sample, sparkPath } from "@/lib/spark";

const W = 96;
const H = 20;
/** Decoration beside a number that says the same in words: hidden from readers. */
export const Spark = ({ points, from, to }: { points: readonly Sample[]; from: number; to: number }) => (
  <svg
    aria-hidden="true"
    viewBox={`0 0 ${W} ${H}`}
    className="h-5 w-16 shrink-0 fill-none stroke-accent"
    preserveAspectRatio="none"
  >
    <path d={sparkPath(points, from, to, W, H)} strokeWidth="1.5" vectorEffect="non-scaling-stroke" />
  </svg>
);
