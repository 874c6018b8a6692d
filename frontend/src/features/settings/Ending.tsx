/** Asks once more before something ends, and says what stood in the way. */
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { t } from "@/lib/i18n";
import { Dialog } from "@/ui/dialog";
import { Button, Txt } from "@/ui/kit";

export function Ending(asked: {
  title: string;
  text: string;
  end: () => Promise<unknown>;
  onClose: () => void;
}) {
  const { title, text, end, onClose } = asked;
  const client = useQueryClient();
  const [problem, setProblem] = useState("");
  const go = () =>
    end()
      .then(onClose, (e: Error) => setProblem(e.message))
      .finally(() => void client.invalidateQueries());
  return (
    <Dialog title={title} onClose={onClose}>
      <div className="flex flex-col gap-3">
        <p className="text-t2">{text}</p>
        {problem ? (
          <p role="alert" className="text-danger">
            ▲ <Txt max={300}>{problem}</Txt>
          </p>
        ) : null}
        <div className="flex gap-2">
          <Button tone="danger" onClick={() => void go()}>
            {title}
          </Button>
          <Button onClick={onClose}>{t("cancel")}</Button>
        </div>
      </div>
    </Dialog>
  );
}
