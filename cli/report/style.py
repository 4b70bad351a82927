"""How a report looks: on a wide screen, on a phone, in the dark and on paper.

Colours are of the Okabe-Ito set, which people who see few colours tell apart; lighter in
the dark. Colour is never all: what failed also stands above the line.
"""

CSS = """
:root{color-scheme:light dark;
--bg:#fdfdfb;--ink:#1d2024;--soft:#5b6067;--line:#e4e4de;--grid:#ecece6;--base:#b9bbb8;
--blue:#0072b2;--band:#4a94c1;--pale:#0072b233;--bad:#d55e00;--badtext:#a64400;--good:#00664b}
@media(prefers-color-scheme:dark){:root{
--bg:#15171a;--ink:#e9e7e2;--soft:#a4a9b0;--line:#2d3137;--grid:#25292e;--base:#565c64;
--blue:#56b4e9;--band:#3a789e;--pale:#56b4e938;--bad:#f0803c;--badtext:#ff9f68;--good:#4fc3a1}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--ink);
font:15px/1.5 Inter,system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;
font-feature-settings:"tnum";overflow-wrap:anywhere}
main,header,footer{max-width:66rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:2.6rem}
h1{font-size:2.1rem;line-height:1.15;font-weight:650;letter-spacing:-.02em;
margin:.3rem 0 .5rem}
h2{font-size:1.18rem;font-weight:650;letter-spacing:-.01em;margin:0}
h3{font-size:.95rem;font-weight:600;margin:1.6rem 0 .4rem}
p{margin:.2rem 0 .9rem;max-width:44rem}
.soft,.kicker,footer{color:var(--soft)}
.kicker{font-size:.85rem;margin:0}
.mark{display:inline-block;width:.78em;height:.78em;margin-right:.3em;vertical-align:-.02em}
.well .mark{color:var(--good)}.ill .mark{color:var(--bad)}
code{white-space:nowrap;font:.86em ui-monospace,"SF Mono",Menlo,Consolas,monospace}
.problems{list-style:none;margin:1.1rem 0 0;padding:0;border-top:1px solid var(--line)}
.problems li{display:grid;grid-template-columns:minmax(9rem,17rem) 1fr;gap:0 1.2rem;
padding:.42rem 0;border-bottom:1px solid var(--line)}
.problems b{font-weight:600}
.figures{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));
gap:1.3rem 1.5rem;margin:1.7rem 0 0}
.figures div{border-top:2px solid var(--base);padding-top:.4rem}
.figures div.bad{border-color:var(--bad)}
dt{font-size:.8rem;color:var(--soft)}
dd{margin:0;font-size:1.42rem;font-weight:600;letter-spacing:-.015em;line-height:1.3}
dd small{display:block;font-size:.8rem;font-weight:400;letter-spacing:0;color:var(--soft);
line-height:1.35}
.bad dd{color:var(--badtext)}
section{margin-top:3.1rem}
.rows{margin-top:.9rem}
.row{display:grid;grid-template-columns:12.5rem minmax(0,1fr) 9.5rem;column-gap:1.1rem;
align-items:end;padding:.28rem 0}
.name{font-size:.86rem;line-height:1.25;text-align:right;overflow:hidden;
display:-webkit-box;-webkit-line-clamp:2;-webkit-box-orient:vertical}
.note{font-size:.86rem;line-height:1.25}
.note small,.name small{display:block;font-size:.76rem;color:var(--soft)}
.note .bad{color:var(--badtext);font-weight:600}
.strips .row{align-items:center}
.all .name,.all .note{font-weight:600}.all .note small{font-weight:400}
.plot{display:block;width:100%;overflow:visible}
.plot path{vector-effect:non-scaling-stroke;fill:none;stroke:none}
.plot .grid{stroke:var(--grid);stroke-width:1}
.plot .base{stroke:var(--base);stroke-width:1}
.plot .bar{fill:var(--blue)}.plot .ok,.key .ok{fill:var(--band)}
.lengths .bar{fill:var(--band)}.others .bar{fill:var(--soft)}
.plot .span,.key .span{fill:var(--band)}
.plot .skip,.key .skip{fill:var(--soft)}
.plot .fail,.key .fail{fill:var(--bad)}
.plot .crash,.key .crash{fill:var(--ink)}
.plot .area{fill:var(--pale)}.plot .edge{stroke:var(--blue);stroke-width:1.6}
.plot .half{stroke:var(--ink);stroke-width:2}
.plot .most{stroke:var(--ink);stroke-width:2;stroke-dasharray:3 2.5}
.hover{fill:transparent}.hover:hover{fill:var(--ink);opacity:.09}
.axis{position:relative;height:1.35rem;grid-column:2;font-size:.76rem;color:var(--soft)}
.axis span{position:absolute;top:.1rem;padding-left:.25rem;white-space:nowrap;
border-left:1px solid var(--base);line-height:1.1}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;font-size:.8rem;color:var(--soft);
margin:.1rem 0 0;padding:0;list-style:none}
.key svg{width:14px;height:22px;vertical-align:-6px;margin-right:.35rem}
.key .half{stroke:var(--ink);stroke-width:2}
.key .most{stroke:var(--ink);stroke-width:2;stroke-dasharray:3 2.5}
details{margin:.7rem 0 0;font-size:.86rem}
summary{color:var(--soft);cursor:pointer;width:fit-content}
summary:focus-visible{outline:2px solid var(--blue);outline-offset:3px}
table{border-collapse:collapse;width:100%;font-size:.86rem;line-height:1.35;margin-top:.5rem}
th{font-weight:400;color:var(--soft);font-size:.8rem;vertical-align:bottom}
th,td{text-align:left;padding:.36rem .9rem .36rem 0;border-bottom:1px solid var(--line);
vertical-align:top}
th:last-child,td:last-child{padding-right:0}
table.slim{max-width:44rem}
.n{text-align:right;white-space:nowrap}
td small{display:block;color:var(--soft)}
.none{color:var(--soft)}
footer{margin-top:3.6rem;padding-bottom:3rem;font-size:.82rem}
footer p{max-width:52rem;margin:.3rem 0;border:0}
@media(max-width:58rem){.row{grid-template-columns:8.5rem minmax(0,1fr) 7.5rem}
.axis{font-size:.7rem}}
@media(max-width:44rem){
main,header,footer{padding-left:1rem;padding-right:1rem}
header{padding-top:1.5rem}h1{font-size:1.65rem}
.problems li{grid-template-columns:1fr}
.figures{grid-template-columns:1fr 1fr;gap:1rem}table.slim{max-width:none}
.row{grid-template-columns:minmax(0,1fr) auto;column-gap:.8rem;padding:.45rem 0}
.name{text-align:left;align-self:end}.note{text-align:right;align-self:end}
.note small{display:inline;margin-left:.45rem}
.row .plot,.axis{grid-column:1/-1;margin-top:.2rem}
.row .plot{grid-row:2}.odd,.late{display:none}
.row.foot{padding:0}
table.wide thead{position:absolute;width:1px;height:1px;overflow:hidden;
clip-path:inset(50%)}
table.wide tr{display:block;padding:.55rem 0;border-bottom:1px solid var(--line)}
table.wide td{display:block;border:0;padding:.05rem 0;text-align:left;white-space:normal}
table.wide td[data-label]::before{content:attr(data-label) " ";color:var(--soft)}
th,td{padding-right:.5rem}}
@media print{
:root{--bg:#fff;--ink:#000;--soft:#444;--line:#ccc;--grid:#e6e6e6;--base:#999;
--blue:#0072b2;--band:#4a94c1;--pale:#0072b233;--bad:#d55e00;--badtext:#a64400;--good:#00664b}
body{font-size:9.5pt;print-color-adjust:exact;-webkit-print-color-adjust:exact}
main,header,footer{padding:0;max-width:none}section{margin-top:1.5rem}
h2,h3{break-after:avoid}.rows,tr{break-inside:avoid}h2+p{break-after:avoid;break-inside:avoid}
.row{grid-template-columns:8.5rem minmax(0,1fr) 7.5rem}
.axis{font-size:7pt}details{display:none}}
"""
