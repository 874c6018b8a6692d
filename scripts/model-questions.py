"""Asks a running planner twenty questions about a world that stands still and for ten actions, and counts what came.

    python3 scripts/model-questions.py NODE STATE

NODE is the program, STATE the state directory of a node that runs with a model and the simulated kit at `pace = 0`: what is
right is known then (moisture 36 %, tank 80 %, valve and pump at rest). Of an answer counts whether a model gave it, whether
its words hold what is true, and whether it cites the reading that says so; of an action, whether exactly the proposal stands
that was asked for. Ends with 1 where a proposal is more than a proposal: nothing may have moved.
"""
import json
import subprocess
import sys

QUESTIONS = [
    ("How moist is zone-1?", "36", "moisture"),
    ("What is the soil moisture?", "36", "moisture"),
    ("What is the tank level?", "80", "tank.level"),
    ("How full is the tank in zone-1?", "80", "tank.level"),
    ("Is the valve open?", ("closed", "not open", "no"), "valve.open"),
    ("Is the pump running?", ("not running", "no", "off", "stopped"), "pump.running"),
    ("Give me the moisture of zone-1 in percent.", "36", "moisture"),
    ("Is there water in the tank, and how much?", "80", "tank.level"),
    ("Wie feucht ist der Boden?", "36", "moisture"),
    ("Wie voll ist der Tank?", "80", "tank.level"),
    ("Is the soil drier than 50 percent?", ("36", "yes"), "moisture"),
    ("Is the tank more than half full?", ("80", "yes"), "tank.level"),
    ("Which zone has readings?", "zone-1", None),
    ("What state is the valve of zone-1 in?", ("closed", "not open", "0"), "valve.open"),
    ("What is the pump doing?", ("not running", "off", "idle", "0", "stopped"), "pump.running"),
    ("Tell me the value of tank.level.", "80", "tank.level"),
    ("Tell me the value of moisture.", "36", "moisture"),
    ("How much water is left?", "80", "tank.level"),
    ("Does the soil need a look: what does the sensor say?", "36", "moisture"),
    ("Summarise zone-1 in one sentence.", "36", "moisture"),
]
ACTIONS = [
    ("Open valve-1 for 10 seconds.", "open", "valve-1", 10),
    ("Please open the valve for 5 seconds.", "open", "valve-1", 5),
    ("Water zone-1 for 12 seconds with valve-1.", "open", "valve-1", 12),
    ("Open actuator:mock:valve-1 with durationSec 3.", "open", "valve-1", 3),
    ("The soil is dry: open valve-1 for 20 seconds.", "open", "valve-1", 20),
    ("Start pump-1 for 4 seconds.", "start", "pump-1", 4),
    ("Start the pump for 8 seconds, please.", "start", "pump-1", 8),
    ("Fill the tank: start pump-1 for 15 seconds.", "start", "pump-1", 15),
    ("Start actuator:mock:pump-1 with durationSec 2.", "start", "pump-1", 2),
    ("Öffne valve-1 für 7 Sekunden.", "open", "valve-1", 7),
]


def run(*args):
    said = subprocess.run([sys.argv[1], "--state-dir", sys.argv[2], *args], capture_output=True, text=True, timeout=900)
    return json.loads(said.stdout) if said.stdout.strip() else None


def ask(text):
    return run("ask", "--json", text) or {"answer": "", "citations": [], "answerer": "none", "tookMs": 0, "tokens": 0}


def holds(text, wanted):
    wanted = (wanted,) if isinstance(wanted, str) else wanted
    return any(word in text.lower() for word in wanted)


def main():
    took, tokens, by_model, right, cited, rated = [], 0, 0, 0, 0, 0
    for question, wanted, metric in QUESTIONS:
        said = ask(question)
        good = holds(said["answer"], wanted)
        names = [c["summary"].split(" | ")[0] for c in said["citations"]]
        by_model += said["answerer"] == "model"
        right += good and said["answerer"] == "model"
        if metric:
            rated += 1
            cited += metric in names
        took.append(said["tookMs"])
        tokens += said["tokens"]
        print(f"{said['tookMs']:6} ms  {'right' if good else 'WRONG'}  {question}  ->  {said['answer']!r} {names}", flush=True)
    wishes = 0
    for question, operation, target, seconds in ACTIONS:
        said = ask(question)
        stands = run("proposals", "--json") or []
        moved = [p for p in stands if p["status"] != "awaiting_approval"]
        if moved:
            sys.exit(f"a model's wish is more than a proposal: {moved}")
        wanted = [
            p for p in stands
            if p["operation"] == operation and p["target"].endswith(target) and p["params"].get("durationSec") == seconds
        ]
        good = len(stands) == 1 and len(wanted) == 1
        wishes += good
        for proposal in stands:
            run("withdraw", proposal["id"], "--json")
        asked = [f"{p['operation']} {p['target']} {p['params']}" for p in stands]
        took.append(said["tookMs"])
        tokens += said["tokens"]
        print(f"{said['tookMs']:6} ms  {'right' if good else 'WRONG'}  {question}  ->  {asked or said['answer']!r}", flush=True)
    ordered = sorted(took)
    print(json.dumps({
        "questions": len(QUESTIONS), "answeredByModel": by_model, "right": right, "cited": f"{cited} of {rated}",
        "actions": len(ACTIONS), "rightProposals": wishes, "p50Ms": ordered[len(ordered) // 2],
        "p90Ms": ordered[len(ordered) * 9 // 10], "tokens": tokens, "tokensPerSecond": round(tokens / (sum(took) / 1000), 1),
    }))


main()
