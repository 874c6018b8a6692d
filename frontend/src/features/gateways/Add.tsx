/** Adds a gateway: one that was found, or an address. The token goes in and is shown nowhere. */
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { t } from "@/lib/i18n";
import { post } from "@/node/client";
import { useGatewaysFound } from "@/node/reads";
import { Dialog } from "@/ui/dialog";
import { Button, Field, Loaded, Switch, Txt } from "@/ui/kit";

export function Add({ onClose }: { onClose: () => void }) {
  const found = useGatewaysFound();
  const client = useQueryClient();
  const [url, setUrl] = useState("");
  const [name, setName] = useState("");
  const [token, setToken] = useState("");
  const [insecure, setInsecure] = useState(false);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState("");
  const known = found.data?.find((one) => one.url === url.trim());
  const add = (e: FormEvent) => {
    e.preventDefault();
    setBusy(true);
    setProblem("");
    const sent = { url: url.trim(), name: name.trim() || null, token: token || null, insecure };
    // Whatever comes of it, the token stays on the page no longer.
    setToken("");
    post("/gateways", sent)
      .then(onClose, (e: Error) => setProblem(e.message))
      .finally(() => {
        setBusy(false);
        void client.invalidateQueries({ queryKey: ["gateways"] });
      });
  };
  return (
    <Dialog title={t("gatewayAdd")} onClose={onClose}>
      <form className="flex flex-col gap-3" onSubmit={add}>
        <Loaded q={found}>
          {(all) => {
            const free = all.filter((one) => !one.added);
            return free.length ? (
              <div>
                <p className="mb-1 text-t2">{t("gatewaysFound")}</p>
                <ul className="flex flex-col gap-1">
                  {free.map((one) => (
                    <li key={one.url} className="flex flex-wrap items-center gap-2">
                      <Button className="h-7!" onClick={() => setUrl(one.url)}>
                        <Txt max={80}>{one.url}</Txt>
                      </Button>
                      <span className="text-t2">
                        <Txt max={64}>{one.name}</Txt> · {t(one.here ? "gatewayHere" : "gatewayLan")}
                      </span>
                    </li>
                  ))}
                </ul>
              </div>
            ) : (
              <p className="text-t2">{t("gatewaysFoundNone")}</p>
            );
          }}
        </Loaded>
        <Field
          label={t("gatewayAddress")}
          value={url}
          placeholder="ws://127.0.0.1:18789"
          maxLength={300}
          autoComplete="off"
          spellCheck={false}
          onChange={(e) => setUrl(e.target.value)}
        />
        <Field
          label={t("gatewayName")}
          value={name}
          maxLength={64}
          autoComplete="off"
          onChange={(e) => setName(e.target.value)}
        />
        <Field
          label={t(known?.hasToken ? "gatewayTokenFound" : "gatewayToken")}
          type="password"
          value={token}
          maxLength={4096}
          autoComplete="new-password"
          spellCheck={false}
          onChange={(e) => setToken(e.target.value)}
        />
        {url.trim().startsWith("ws://") && !/^ws:\/\/(127\.|localhost|\[::1\])/.test(url.trim()) ? (
          <Switch on={insecure} label={t("gatewayInsecure")} onChange={setInsecure}>
            {t("gatewayInsecure")}
          </Switch>
        ) : null}
        {problem ? (
          <p role="alert" className="text-danger">
            ▲ <Txt max={400}>{problem}</Txt>
          </p>
        ) : null}
        <div className="flex gap-2">
          <Button type="submit" tone="accent" disabled={busy || !url.trim()}>
            {t("gatewayAdd")}
          </Button>
          <Button onClick={onClose}>{t("cancel")}</Button>
        </div>
      </form>
    </Dialog>
  );
}
