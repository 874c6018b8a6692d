# Programs for Windows on this machine, for the scripts that try them; sourced, never run. It defines skip, and expects what is
# tried in `what`. Where Wine, the linker or the compiler cannot be had it says so in the file that CLAWMESH_SKIPPED names, and ends.
#
#   wine_ready       has Wine and a C compiler for Windows; `wine` is the program
#   windows_node     prints the node for Windows: that of CLAWMESH_WINDOWS_NODE, else it is built
#   wine_begins      makes the folder $WORK/wine, in which Wine has its machine, and turns that on; wine_ends ends what runs in it,
#                    wine_on turns it on again
#   stubs_into DIR   what Wine lacks, beside a program

skip() {
  printf 'SKIPPED: %s: %s\n' "$what" "$*" | tee -a "${CLAWMESH_SKIPPED:-/dev/null}" >&2
  exit 0
}

wine_ready() {
  if ! have wine64 && [ ! -x /usr/lib/wine/wine64 ]; then
    can_be_root && apt_has wine64 || skip "there is no wine64"
    (apt_install wine64) || skip "wine64 cannot be installed here"
  fi
  if ! have x86_64-w64-mingw32-gcc; then
    can_be_root && apt_has gcc-mingw-w64-x86-64-win32 || skip "there is no x86_64-w64-mingw32-gcc to link with"
    (apt_install gcc-mingw-w64-x86-64-win32) || skip "gcc-mingw-w64-x86-64-win32 cannot be installed here"
  fi
  wine=/usr/lib/wine/wine64
  [ -x "$wine" ] || wine=wine64
}

windows_node() {
  local exe="${CLAWMESH_WINDOWS_NODE:-}"
  [ -n "$exe" ] || exe="$("$ROOT/scripts/foreign" --build x86_64-pc-windows-gnu)"
  printf '%s\n' "$exe"
}

# Services and what msiexec starts have an environment of their own: which of Wine's parts give way to ours is in its registry.
wine_begins() {
  export WINEPREFIX="$WORK/wine" WINEDEBUG="${WINEDEBUG:--all}" WINEDLLOVERRIDES="mscoree=;mshtml=" NO_COLOR=1
  "$wine" wineboot --init >/dev/null 2>&1 || fail "Wine cannot make its folder"
  local part
  for part in pdh bcryptprimitives; do
    "$wine" reg add 'HKCU\Software\Wine\DllOverrides' /v "$part" /t REG_SZ /d native /f >/dev/null 2>&1 || fail "Wine's registry"
  done
  wine_ends
  wine_on
}

# Starts its machine and keeps it on: without a program of a person Wine ends its services, between two commands too.
wine_on() {
  printf '#include <windows.h>\nint main(void) { Sleep(INFINITE); return 0; }\n' >"$WORK/stay.c"
  [ -f "$WORK/stay.exe" ] || x86_64-w64-mingw32-gcc -o "$WORK/stay.exe" "$WORK/stay.c"
  "$wine" "$WORK/stay.exe" </dev/null >/dev/null 2>&1 &
}

# wineserver -k ends what runs in this folder and nothing else.
wine_ends() {
  wineserver -k 2>/dev/null || /usr/lib/wine/wineserver -k 2>/dev/null || true
  wineserver -w 2>/dev/null || /usr/lib/wine/wineserver -w 2>/dev/null || true
}

stubs_into() {
  local work="$1" name
  # Wine 8 lacks two functions that Windows has: numbers at random, and the counters of the processor.
  cat >"$work/random.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE to, SIZE_T n) { return SystemFunction036(to, (ULONG)n); }
C
  {
    printf '#include <windows.h>\n'
    for name in PdhOpenQueryA PdhOpenQueryW PdhCloseQuery PdhCollectQueryData PdhCollectQueryDataEx PdhAddEnglishCounterA \
      PdhAddEnglishCounterW PdhAddCounterW PdhRemoveCounter PdhGetFormattedCounterValue; do
      printf '__declspec(dllexport) LONG WINAPI %s(void *a, void *b, void *c, void *d) { return 0xC0000BB8; }\n' "$name"
    done
  } >"$work/pdh.c"
  x86_64-w64-mingw32-gcc -shared -o "$work/bcryptprimitives.dll" "$work/random.c" -ladvapi32
  x86_64-w64-mingw32-gcc -shared -o "$work/pdh.dll" "$work/pdh.c"
  rm -f "$work/random.c" "$work/pdh.c"
}
