/** Windows over the page: to say, to ask why, to make sure. */

import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { limits } from "@/contract/operator.gen";
import { t } from "@/lib/i18n";
import { Button, Field, Txt } from "./kit";

/** Asks the shell for the emergency stop: a dialog makes the shell's own button unreachable. */
export const STOP_ASKED = "clawmesh-stop";

export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string;
  onClose: () => void;
  children: ReactNode;
}) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    ref.current?.showModal();
  }, []);
  return (
    <dialog
      ref={ref}
      aria-labelledby={id}
      onClose={onClose}
      className="m-auto w-[min(560px,calc(100vw-32px))] rounded-md border border-line bg-s1 p-4 text-t1 shadow-xl"
    >
      <h2 id={id} className="mb-3 min-h-8 pr-24 font-semibold text-[15px]">
        {title}
      </h2>
      {children}
      {/* Last, though it stands above: what comes first gets the focus, and the next Enter. */}
      <Button
        tone="danger"
        title={t("stopHint")}
        aria-label={`${t("stop")}: ${t("stopHint")}`}
        onClick={() => window.dispatchEvent(new Event(STOP_ASKED))}
        className="absolute! top-3 right-3"
      >
        <span aria-hidden="true">■ {t("stop")}</span>
      </Button>
    </dialog>
  );
}

/** Asks for a reason before something that is not undone by itself. */
export function AskReason({
  title,
  text,
  go,
  optional,
  onGo,
  onClose,
}: {
  title: string;
  text: string;
  go: string;
  optional?: boolean;
  onGo: (reason: string) => Promise<unknown>;
  onClose: () => void;
}) {
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          if (!optional && !reason.trim()) return setProblem(t("reasonNeeded"));
          setBusy(true);
          onGo(reason.trim()).then(onClose, (error: Error) => {
            setProblem(error.message);
            setBusy(false);
          });
        }}
      >
        <p className="text-t2">{text}</p>
        <Field
          label={t("reason")}
          value={reason}
          maxLength={limits.textChars}
          onChange={(e) => setReason(e.target.value)}
        />
        {problem ? (
          <p role="alert" className="text-danger">
            ▲ {problem}
          </p>
        ) : null}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button tone="danger" type="submit" disabled={busy}>
            {go}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** Before what cannot be undone at all: a word is typed. */
export function TypeToConfirm({
  title,
  text,
  word,
  go,
  onGo,
  onClose,
}: {
  title: string;
  text: string;
  word: string;
  go: string;
  onGo: () => Promise<unknown>;
  onClose: () => void;
}) {
  const [typed, setTyped] = useState("");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const ready = typed.trim() === word;
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        className="flex flex-col gap-3"
        onSubmit={(e) => {
          e.preventDefault();
          if (!ready || busy) return;
          setBusy(true);
          onGo().then(onClose, (error: Error) => {
            setProblem(error.message);
            setBusy(false);
          });
        }}
      >
        <p className="text-t2">{text}</p>
        <Field
          label={t("typeToConfirm", { word })}
          value={typed}
          autoComplete="off"
          onChange={(e) => setTyped(e.target.value)}
        />
        {problem ? (
          <p role="alert" className="text-danger">
            ▲ <Txt max={300}>{problem}</Txt>
          </p>
        ) : null}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button tone="danger" type="submit" disabled={!ready || busy}>
            {go}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
