"""Asks a window to close as a window manager does: WM_DELETE_WINDOW, with nothing but libX11."""

import ctypes
import sys

x = ctypes.CDLL("libX11.so.6")
x.XOpenDisplay.restype = ctypes.c_void_p
x.XInternAtom.restype = ctypes.c_ulong


class Message(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
    ]


class Event(ctypes.Union):
    _fields_ = [("message", Message), ("pad", ctypes.c_long * 24)]


display = ctypes.c_void_p(x.XOpenDisplay(None))
window = ctypes.c_ulong(int(sys.argv[1]))
atom = lambda name: x.XInternAtom(display, name.encode(), 0)
event = Event()
event.message.type = 33
event.message.window = window
event.message.message_type = atom("WM_PROTOCOLS")
event.message.format = 32
event.message.data[0] = atom("WM_DELETE_WINDOW")
x.XSendEvent(display, window, 0, 0, ctypes.byref(event))
# Waits for the server: one that finds its client gone may drop what it has not read yet.
x.XSync(display, 0)
x.XCloseDisplay(display)
