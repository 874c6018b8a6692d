/** The last picture of a camera: the thumbnail that its frame carries, and the way to the whole at this node. */
import { t } from "@/lib/i18n";
import { ROOT } from "@/node/client";
import { useFrame } from "@/node/reads";
import { inWindow } from "@/platform/desktop";
import { pictureOf } from "./devices";

export function Picture({ frameId, name }: { frameId: string; name: string }) {
  const frame = useFrame(frameId).data;
  const picture = pictureOf(frame?.frame);
  if (!picture) return null;
  const whole = `${ROOT}/pictures/${picture.sha256}`;
  return (
    <div className="flex flex-wrap items-end gap-3 py-1">
      <img
        src={picture.thumbnail}
        alt={t("pictureOf", { name })}
        className="max-h-40 max-w-full rounded-md border border-line"
      />
      <p className="flex min-w-0 flex-col gap-0.5 text-[12px] text-t2">
        <span>
          {picture.width} × {picture.height}
        </span>
        {inWindow ? (
          <code className="wrap-anywhere font-mono">
            clawmesh-node device picture {picture.sha256.slice(0, 12)} --out picture
          </code>
        ) : (
          <a href={whole} target="_blank" rel="noreferrer" className="underline">
            {t("pictureWhole")}
          </a>
        )}
      </p>
    </div>
  );
}
