"""How a verdict's page looks: one column on a telephone, more where there is room;
light or dark as the reader's system is."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fbfbf9; --card: #ffffff; --ink: #1d2733; --quiet: #5d6875; --line: #dfe3e7;
  --good: #0a7d4f; --bad: #c2410c; --mark: #eef6f1;
  --s0: #0068a5; --s1: #c8500a; --s2: #0b8661; --s3: #8a4fb3; --s4: #96690f; --s5: #0f83a3; --s6: #c23d80;
  --s7: #64707d;
}
@media (prefers-color-scheme: dark) { :root {
  --paper: #14181d; --card: #1b2026; --ink: #e6eaee; --quiet: #9aa6b2; --line: #323a43;
  --good: #4ccf97; --bad: #ff9157; --mark: #1c2f27;
  --s0: #5ab4ee; --s1: #ff9d5c; --s2: #45cf9f; --s3: #c39be8; --s4: #dfb450; --s5: #6fd2ee; --s6: #f289b8;
  --s7: #a9b4bf;
} }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue",
  Arial, sans-serif; -webkit-text-size-adjust: 100%; }
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
header p, figcaption, .quiet, footer { color: var(--quiet); }
header p { margin: 0; }
h1 { font-size: clamp(1.6rem, 5vw, 2.3rem); line-height: 1.15; margin: .2rem 0 .5rem; overflow-wrap: anywhere;
  letter-spacing: -.01em; }
header .why { color: var(--ink); font-size: 1.08rem; max-width: 46rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
ul.said { padding-left: 1.1rem; max-width: 48rem; } ul.said li { margin: .25rem 0; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .6rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { border-top: 0; font-weight: 600; font-size: .85rem; color: var(--quiet); vertical-align: bottom; }
thead th.aim { color: var(--ink); }
th[scope=row], th.name, td.name { text-align: left; font-weight: 500; white-space: normal; overflow-wrap: anywhere; }
table.wide th[scope=row], table.wide th.name { position: sticky; left: 0; background: var(--card); z-index: 1;
  min-width: clamp(9rem, 36vw, 12rem); max-width: 16rem; padding-left: 1.8rem; }
th .swatch { position: absolute; left: .65rem; top: .85rem; }
tr.best th, tr.best td, table.wide tr.best th[scope=row] { background: var(--mark); }
tr.best th[scope=row] { font-weight: 700; }
td small { color: var(--quiet); font-size: .82em; }
td .mark { font-size: .72em; margin-left: .3em; } .mark.up { color: var(--good); } .mark.down { color: var(--bad); }
.swatch { display: inline-block; width: .75em; height: .75em; border-radius: .2em; margin-right: .45em;
  vertical-align: -.05em; }
.tag { display: inline-block; font-size: .72rem; font-weight: 600; color: var(--good);
  border: 1px solid currentColor; border-radius: 1em;
  padding: .05em .55em; margin-left: .5em; white-space: nowrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1rem;
  align-items: start; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .7rem .8rem; }
figure h3 { font-size: .95rem; margin: 0 0 .1rem; } figcaption { font-size: .82rem; line-height: 1.4;
  margin-bottom: .4rem; }
svg { display: block; width: 100%; height: auto; margin: 0 auto; overflow: visible; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem; overflow-x: auto;
  font: 13px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
details { margin: .6rem 0; } summary { cursor: pointer; }
td.yes { color: var(--good); } td.no { color: var(--quiet); } td.turned { color: var(--bad); }
footer { margin-top: 3rem; font-size: .88rem; max-width: 48rem; }
@media print { .scroll, figure { break-inside: avoid; } }
"""
