"""A tray for tests: the StatusNotifierWatcher on the session bus, asked and answered by lines of JSON."""

import json
import sys
import threading

import dbus
import dbus.service
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

NAME = "org.kde.StatusNotifierWatcher"
ITEM = "org.kde.StatusNotifierItem"
MENU = "com.canonical.dbusmenu"
PROPS = "org.freedesktop.DBus.Properties"


class Watcher(dbus.service.Object):
    """Takes what registers and says that a host is there."""

    items = []

    @dbus.service.method(NAME, in_signature="s", sender_keyword="sender")
    def RegisterStatusNotifierItem(self, service, sender=None):
        at = (sender, service) if service.startswith("/") else (service, "/StatusNotifierItem")
        self.items.append(at)

    @dbus.service.method(NAME, in_signature="s")
    def RegisterStatusNotifierHost(self, _service):
        pass

    @dbus.service.method(PROPS, in_signature="ss", out_signature="v")
    def Get(self, _interface, name):
        return self.GetAll("")[name]

    @dbus.service.method(PROPS, in_signature="s", out_signature="a{sv}")
    def GetAll(self, _interface):
        items = dbus.Array([name + path for name, path in self.items], signature="s")
        return {
            "RegisteredStatusNotifierItems": items,
            "IsStatusNotifierHostRegistered": True,
            "ProtocolVersion": dbus.Int32(0),
        }


def entries(node, above=""):
    number, properties, children = node
    label = str(properties.get("label", "")).replace("__", "\0").replace("_", "").replace("\0", "_")
    path = f"{above} > {label}" if above else label
    if label:
        yield int(number), path
    for child in children:
        yield from entries(child, path if label else above)


def answer(bus, watcher, asked):
    if not watcher.items:
        return {"labels": [], "why": "nothing has registered"}
    name, path = watcher.items[-1]
    item = dbus.Interface(bus.get_object(name, path), PROPS)
    if asked["ask"] == "icon":
        names = {"icon": "IconName", "title": "Title", "beside": "XAyatanaLabel"}
        return {key: str(item.Get(ITEM, name)) for key, name in names.items()}
    menu = dbus.Interface(bus.get_object(name, str(item.Get(ITEM, "Menu"))), MENU)
    for number, _ in list(entries(menu.GetLayout(0, -1, [])[1])):
        menu.AboutToShow(number)
    found = list(entries(menu.GetLayout(0, -1, [])[1]))
    if asked["ask"] == "menu":
        return {"labels": [label for _, label in found]}
    for number, label in found:
        if asked["text"] in label:
            menu.Event(number, "clicked", dbus.Int32(0, variant_level=1), dbus.UInt32(0))
            return {"clicked": label}
    return {"clicked": None}


def main():
    bus = dbus.SessionBus(mainloop=DBusGMainLoop())
    name = dbus.service.BusName(NAME, bus, do_not_queue=True)
    watcher = Watcher(name, "/StatusNotifierWatcher")
    loop = GLib.MainLoop()

    def say(what):
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    # A connection of its own: the main loop must stay free for what the item asks meanwhile.
    asking = dbus.SessionBus(private=True)

    def reply(line):
        try:
            say(answer(asking, watcher, json.loads(line)))
        except dbus.DBusException as error:
            say({"why": str(error)})

    def listen():
        for line in sys.stdin:
            reply(line)
        loop.quit()

    say({"ready": True})
    threading.Thread(target=listen, daemon=True).start()
    loop.run()


main()
