"""Factories and networks that misbehave, as a file of their own, and what fmap says of each."""

from __future__ import annotations

GUESTS = '''
import os, signal, sys, threading, time, torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.conv(x)

class Odd(BaseException): pass
class Mute(Exception):
    def __str__(self): raise ValueError
class Number(Exception):
    def __str__(self): return 3
class Long(Exception):
    def __str__(self): return "word " * 1_000_000
class Lines(Exception):
    def __str__(self): return "\\n\\n  first\\nsecond"

def raises(error):
    def make(): raise error
    return make

def after(act):
    """A factory that does something, and makes a network all the same."""
    def make():
        act()
        return Net()
    return make

def does(act):
    """A factory whose network does something with what it would put out."""
    class Doing(Net):
        def forward(self, x):
            return act(self.conv(x))
    return Doing

def throws(error):
    def act(output): raise error
    return does(act)

def within(**attributes):
    return type("Strange", (Net,), attributes)

def prop(error):
    def get(self): raise error
    return property(get, lambda self, value: None)

def method(error):
    def call(self, *args, **kwargs): raise error
    return call

def cycle(output):
    answer = {"out": output}
    answer["again"] = answer
    return answer
def ring(output):
    answer = [output]
    answer.append(answer)
    return answer
def nest(output):
    for _ in range(50_000): output = [output]
    return output

# Each with what is said (None: there is a result).
f_odd, f_exit, f_generator = raises(Odd("odd")), raises(SystemExit("bye")), raises(GeneratorExit())
f_mute, f_number, f_long, f_lines = raises(Mute()), raises(Number()), raises(Long()), raises(Lines())
n_odd, n_exit, n_generator = throws(Odd("odd")), throws(SystemExit(5)), throws(GeneratorExit())
n_mute, n_long, n_stop = throws(Mute()), throws(Long()), throws(StopIteration())
n_cycle, n_ring, n_nest = does(cycle), does(ring), does(nest)
n_none, n_text = does(lambda output: None), does(lambda output: "text")
a_getattr = within(__getattr__=lambda self, name: nn.Module.__getattr__(self, name) if name in ("conv",) or
                   name.startswith("_") else method(RuntimeError(name))(self))
a_training = within(training=prop(RuntimeError("training")))
a_modules = within(named_modules=method(Odd("modules")))
a_parameters = within(named_parameters=method(RuntimeError("parameters")))
a_apply = within(_apply=method(Odd("apply")))
a_eval = within(eval=method(RuntimeError("eval")))
a_state = within(state_dict=method(RuntimeError("state")))
a_words = within(__repr__=method(Odd("repr")), __len__=method(Odd("len")), __iter__=method(Odd("iter")))
a_hash = within(__eq__=method(Odd("eq")), __hash__=None)
c_directory = after(lambda: os.chdir("/"))
c_double = after(lambda: torch.set_default_dtype(torch.float64))
c_gradients = after(lambda: torch.set_grad_enabled(False))
c_handler = after(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
c_streams = after(lambda: (sys.stdout.close(), sys.stderr.close()))
c_nothing = after(lambda: setattr(sys, "stdout", None))
c_prints = after(lambda: print("x" * 3_000_000))
d_double = does(lambda output: (torch.set_default_dtype(torch.float64), output)[1])
d_directory = does(lambda output: (os.chdir("/"), output)[1])
d_handler = does(lambda output: (signal.signal(signal.SIGINT, signal.SIG_IGN), output)[1])

# In a process of their own.
p_out, p_err = after(lambda: os.close(1)), after(lambda: os.close(2))
p_all = after(lambda: os.closerange(0, 60))
p_daemon = after(lambda: os.closerange(3, 4096))
p_system = after(lambda: os.system("echo from below"))
p_forward = does(lambda output: (os.close(1), os.close(2), output)[2])
p_thread = after(lambda: threading.Thread(target=time.sleep, args=(600,)).start())
p_device = after(lambda: torch.set_default_device("meta"))
s_sleeps = does(lambda output: (os.write(2, b"asleep\\n"), time.sleep(600)))
def deaf(output):
    os.write(2, b"asleep\\n")
    while True:
        try: time.sleep(600)
        except BaseException: pass
s_deaf = does(deaf)
'''

SAID: dict[str, str | None] = {
    "f_odd": "failed: Odd: odd (guests.py:",
    "f_exit": "failed: it called sys.exit('bye') (guests.py:",
    "f_generator": "failed: GeneratorExit (guests.py:",
    "f_mute": "failed: Mute (guests.py:",
    "f_number": "failed: Number (guests.py:",
    "f_long": "failed: Long: word word ",
    "f_lines": "failed: Lines: first second (guests.py:",
    "n_odd": "[1, 3, 16, 16] as float32 on cpu: Odd: odd (guests.py:",
    "n_exit": "it called sys.exit(5) (guests.py:",
    "n_generator": "GeneratorExit (guests.py:",
    "n_mute": "Mute (guests.py:",
    "n_long": "Long: word word ",
    "n_stop": "StopIteration",
    "n_cycle": None,
    "n_ring": None,
    "n_nest": "RecursionError",
    "n_none": None,
    "n_text": None,
    "a_getattr": "RuntimeError: original_name (guests.py:",
    "a_training": "RuntimeError: training (guests.py:",
    "a_modules": "cannot be looked into: Odd: modules (guests.py:",
    "a_parameters": "cannot be looked into: RuntimeError: parameters (guests.py:",
    "a_apply": None,
    "a_eval": "RuntimeError: eval (guests.py:",
    "a_state": None,
    "a_words": None,
    "a_hash": "cannot be looked into: TypeError: unhashable type",
    "c_directory": None,
    "c_double": None,
    "c_gradients": None,
    "c_handler": None,
    "c_streams": None,
    "c_nothing": None,
    "c_prints": None,
    "d_double": None,
    "d_directory": None,
    "d_handler": None,
}
