/* page: the frame of the pages, and their style and script. No file and no foreign origin is needed
 * to show them. */
#include "page.h"

#include <inttypes.h>

const char page_style[] =
    ":root{--fg:#1d2430;--dim:#667085;--bg:#fff;--soft:#f4f5f7;--line:#e3e6ea;--mark:#b4480f;--"
    "good:#18794e;"
    "--bad:#b42318;color-scheme:light dark}"
    "@media(prefers-color-scheme:dark){:root{--fg:#e6e8ec;--dim:#9aa3b2;--bg:#15181d;--soft:#"
    "1d2127;"
    "--line:#2d333c;--mark:#f0915c;--good:#4cc38a;--bad:#ff8577}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);"
    "font:15px/1.5 system-ui,sans-serif}"
    "nav{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;align-items:baseline;padding:.7rem 1.5rem;"
    "background:var(--soft);border-bottom:1px solid var(--line)}"
    "nav b{margin-right:.8rem}nav a{color:var(--dim);text-decoration:none}nav "
    "a:hover{color:var(--fg)}"
    "nav a.here{color:var(--mark);font-weight:600}"
    "main{padding:1.2rem 1.5rem;max-width:1400px}h1{font-size:1.35rem;margin:.2rem 0 1rem}"
    "h2{font-size:1.05rem;margin:1.6rem 0 .5rem}h2 small{color:var(--dim);font-weight:400}"
    "table{border-collapse:collapse;width:100%;font-size:.9rem}"
    "th{white-space:nowrap;text-align:left;color:var(--dim);font-weight:500}"
    "th,td{padding:.35rem .7rem;border-bottom:1px solid var(--line);vertical-align:top;"
    "overflow-wrap:anywhere}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
    "code,pre,textarea,td.m{font-family:ui-monospace,monospace;font-size:.86rem}"
    "pre{background:var(--soft);border:1px solid "
    "var(--line);border-radius:6px;padding:1rem;overflow:auto}"
    "a{color:var(--mark)}.up,.down,.unknown{white-space:nowrap}.up{color:var(--good);font-weight:"
    "600}.down{color:var(--bad);font-weight:"
    "600}"
    ".unknown{color:var(--dim);font-weight:600}.error{color:var(--bad)}"
    ".note{background:var(--soft);border-left:3px solid var(--mark);padding:.4rem "
    ".8rem;margin:.4rem 0}"
    ".label{display:inline-block;background:var(--soft);border:1px solid "
    "var(--line);border-radius:4px;"
    "padding:0 .35rem;margin:0 .25rem .2rem 0;font:.8rem ui-monospace,monospace}"
    "textarea,input,button{font:inherit;color:inherit;background:var(--bg);border:1px solid "
    "var(--line);"
    "border-radius:6px;padding:.45rem .6rem}textarea{width:100%;font-family:ui-monospace,monospace}"
    "button{background:var(--mark);border-color:var(--mark);color:#fff;cursor:pointer;padding:."
    "45rem 1.1rem}"
    "button.plain{background:none;color:inherit;border-color:var(--line)}"
    ".bar{display:flex;gap:.6rem;align-items:center;flex-wrap:wrap;margin:.6rem 0 1rem}"
    ".bar input{width:7rem}.dim{color:var(--dim)}svg{width:100%;height:340px;border:1px solid "
    "var(--line);"
    "border-radius:6px;background:var(--bg)}svg text{fill:var(--dim);font-size:11px}"
    "svg "
    ".grid{stroke:var(--line)}.key{display:inline-block;width:.8em;height:.8em;border-radius:2px;"
    "margin-right:.5em}";

/* Texts of answers reach the page as text nodes only. */
const char page_query_script[] =
    "'use strict';const $=id=>document.getElementById(id),base=document.body.dataset.base;"
    "const show=(...nodes)=>$('result').replaceChildren(...nodes);"
    "function el(tag,text,cls){const "
    "e=document.createElement(tag);if(text!==undefined)e.textContent=text;"
    "if(cls)e.className=cls;return e}"
    "function svg(tag,attrs){const e=document.createElementNS('http://www.w3.org/2000/svg',tag);"
    "for(const k in attrs)e.setAttribute(k,attrs[k]);return e}"
    "function name(m){const n=m.__name__||'';const l=Object.keys(m).filter(k=>k!=='__name__')"
    ".map(k=>k+'='+JSON.stringify(m[k]));return n+(l.length||!n?'{'+l.join(', ')+'}':'')}"
    "async function ask(path,params){const body=new URLSearchParams(params);"
    "const r=await fetch(base+path,{method:'POST',body});"
    "const t=await r.text();let j;try{j=JSON.parse(t)}catch(e){throw Error(t||r.statusText)}"
    "if(j.status!=='success')throw Error(j.errorType+': '+j.error);return j}"
    "function seconds(text){const u={ms:.001,s:1,m:60,h:3600,d:86400,w:604800,y:31536000};let s=0;"
    "for(const [,n,x] of text.matchAll(/(\\d+)(ms|[smhdwy])/g))s+=n*u[x];return s||3600}"
    "function notes(j){return[...(j.warnings||[]),...(j.infos||[])].map(t=>el('div',t,'note'))}"
    "function table(j){const d=j.data,t=el('table'),h=el('tr');"
    "h.append(el('th',d.resultType),el('th','value'));h.lastChild.style.textAlign='right';t.append("
    "h);"
    "const "
    "rows=d.resultType==='scalar'||d.resultType==='string'?[{metric:{},value:d.result}]:d.result;"
    "for(const s of rows.slice(0,2000)){const r=el('tr');r.append(el('td',name(s.metric),'m'));"
    "r.append(el('td',s.values?s.values.map(v=>v[1]+' "
    "@'+v[0]).join('\\n'):s.value[1],'n'));t.append(r)}"
    "const info=el('p',rows.length+' series'+(rows.length>2000?', the first 2000 shown':''),'dim');"
    "show(...notes(j),info,t)}"
    "const "
    "colors=['#3b82f6','#f59e0b','#10b981','#ef4444','#8b5cf6','#14b8a6','#ec4899','#84cc16','#"
    "f97316',"
    "'#6366f1'];"
    "function graph(j,from,to){const "
    "W=Math.max(400,$('result').clientWidth),H=340,P=56,rows=j.data.result.slice(0,100);let "
    "lo=1/0,hi=-1/0;"
    "for(const s of rows)for(const v of s.values||[]){const "
    "y=+v[1];if(isFinite(y)){lo=Math.min(lo,y);"
    "hi=Math.max(hi,y)}}if(lo>hi){show(...notes(j),el('p','No points to draw.','dim'));return}"
    "if(lo===hi){lo-=Math.abs(lo)||1;hi+=Math.abs(hi)||1}"
    "const x=t=>P+(t-from)/(to-from)*(W-P-10),y=v=>H-24-(v-lo)/(hi-lo)*(H-40);"
    "const g=svg('svg',{viewBox:`0 0 ${W} ${H}`});"
    "for(let i=0;i<=4;i++){const v=lo+(hi-lo)*i/4,t=from+(to-from)*i/4;"
    "g.append(svg('line',{x1:P,x2:W-10,y1:y(v),y2:y(v),class:'grid'}));"
    "const "
    "a=svg('text',{x:4,y:y(v)+4});a.textContent=v.toPrecision(4).replace(/\\.?0+$/,'');g.append(a);"
    "const b=svg('text',{x:Math.min(x(t),W-62),y:H-6});b.textContent=new "
    "Date(t*1e3).toISOString().slice(11,19);"
    "g.append(b)}"
    "const list=el('div');rows.forEach((s,i)=>{let d='',open=false;for(const v of "
    "s.values||[]){const n=+v[1];"
    "if(!isFinite(n)){open=false;continue}d+=(open?'L':'M')+x(v[0]).toFixed(1)+' "
    "'+y(n).toFixed(1);open=true}"
    "const "
    "c=colors[i%colors.length];g.append(svg('path',{d,fill:'none',stroke:c,'stroke-width':1.5}));"
    "const "
    "row=el('div'),k=el('span','','key');k.style.background=c;row.append(k,el('code',name(s.metric)"
    "));"
    "list.append(row)});show(...notes(j),g,list)}"
    "async function run(mode){const query=$('expr').value.trim();if(!query)return;"
    "const u=new URLSearchParams({'g0.expr':query,'g0.tab':mode==='graph'?'0':'1',"
    "'g0.range_input':$('range').value});history.replaceState(null,'','?'+u);"
    "show(el('p','\\u2026','dim'));const began=performance.now();"
    "try{if(mode==='graph'){const end=Date.now()/1e3,range=seconds($('range').value);"
    "graph(await "
    "ask('/api/v1/query_range',{query,start:end-range,end,step:Math.max(1,Math.ceil(range/400))}),"
    "end-range,end)}else table(await ask('/api/v1/query',{query}));"
    "$('took').textContent=Math.round(performance.now()-began)+' ms'}"
    "catch(e){show(el('p',e.message,'error'))}}"
    "$('form').addEventListener('submit',e=>{e.preventDefault();run('table')});"
    "$('graph').addEventListener('click',()=>run('graph'));"
    "$('expr').addEventListener('keydown',e=>{if(e.key==='Enter'&&!e.shiftKey){e.preventDefault();"
    "run('table')}});"
    "const given=new URLSearchParams(location.search);if(given.get('g0.range_input'))"
    "$('range').value=given.get('g0.range_input');"
    "if($('expr').value)run(given.get('g0.tab')==='0'?'graph':'table');";

static const struct {
    const char *path, *text;
} links[] = {
    {"/query", "Query"},         {"/targets", "Targets"},      {"/status", "Status"},
    {"/tsdb-status", "Storage"}, {"/config", "Configuration"}, {"/flags", "Flags"},
    {"/metrics", "Metrics"},
};

void page_begin(struct buf *out, const struct api *api, const char *path, const char *title)
{
    struct str site = api->options.page_title.len > 0 ? api->options.page_title : STR("Narthex");

    BUF_ADD(out, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                 "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
    buf_add_html(out, str_of(title));
    BUF_ADD(out, " - ");
    buf_add_html(out, site);
    BUF_ADD(out, "</title><style>");
    buf_add_str(out, str_of(page_style));
    BUF_ADD(out, "</style></head><body data-base=\"");
    buf_add_html(out, api->link_prefix);
    BUF_ADD(out, "\"><nav><b>Narthex</b>");
    for (size_t i = 0; i < COUNT_OF(links); i++) {
        BUF_ADD(out, "<a href=\"");
        buf_add_html(out, api->link_prefix);
        buf_addf(out, "%s\"%s>%s</a>", links[i].path,
                 strcmp(path, links[i].path) == 0 ? " class=\"here\"" : "", links[i].text);
    }
    BUF_ADD(out, "</nav><main><h1>");
    buf_add_html(out, str_of(title));
    BUF_ADD(out, "</h1>\n");
}

void page_end(struct buf *out)
{
    BUF_ADD(out, "</main></body></html>\n");
}

void page_answer(struct call *call, struct buf *out)
{
    page_end(out);
    answer(call, 200, CONTENT_HTML, out);
}

void page_table_begin(struct buf *out, const char *const *heads, size_t count)
{
    BUF_ADD(out, "<table>");
    if (count > 0)
        BUF_ADD(out, "<tr>");
    for (size_t i = 0; i < count; i++)
        buf_addf(out, "<th>%s</th>", heads[i]);
    if (count > 0)
        BUF_ADD(out, "</tr>");
    BUF_ADD(out, "\n");
}

void page_table_end(struct buf *out)
{
    BUF_ADD(out, "</table>\n");
}

void page_row_text(struct buf *out, const char *name, struct str value)
{
    buf_addf(out, "<tr><th>%s</th><td>", name);
    buf_add_html(out, value);
    BUF_ADD(out, "</td></tr>\n");
}

void page_row_number(struct buf *out, const char *name, uint64_t value)
{
    buf_addf(out, "<tr><th>%s</th><td>%" PRIu64 "</td></tr>\n", name, value);
}
