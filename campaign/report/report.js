/* Draws the charts of a report from the JSON beside it, with dygraphs. All texts were written by
 * others: they only ever become text nodes, never markup. When all is drawn, <html> says so in
 * data-ready, which is what the tests wait for. */
(function () {
  'use strict';
  var root = document.documentElement;
  var data = JSON.parse(document.getElementById('data').textContent);
  var charts = [], heat = null, syncing = false, all = null, isLog = true;

  function css(name) { return getComputedStyle(root).getPropertyValue(name).trim(); }
  function byId(id) { return document.getElementById(id); }
  function add(parent, tag, className, text) {
    var e = document.createElement(tag);
    if (className) e.className = className;
    if (text !== undefined) e.textContent = text;
    parent.appendChild(e);
    return e;
  }

  /* ---- numbers ---- */
  function ms(v) {
    if (v === null || v === undefined || isNaN(v)) return '–';
    if (v < 10) return +v.toPrecision(2) + ' ms';
    if (v < 1000) return Math.round(v) + ' ms';
    return (v < 10000 ? (v / 1000).toFixed(2) : (v / 1000).toFixed(1)) + ' s';
  }
  function msTick(v) { return v < 1000 ? +v.toPrecision(3) + ' ms' : +(v / 1000).toPrecision(3) + ' s'; }
  function sec(v) {
    if (data.duration < 600) return +v.toFixed(1) + ' s';
    var m = Math.floor(v / 60), s = Math.round(v % 60);
    return (m >= 60 ? Math.floor(m / 60) + ':' + String(m % 60).padStart(2, '0') : m) + ':' + String(s).padStart(2, '0');
  }
  function rate(v) { return v === null || v === undefined ? '–' : (v >= 100 ? Math.round(v).toLocaleString('en') : +v.toFixed(1)) + '/s'; }

  /* ---- what lies under every chart: fault bands and their edges ---- */
  function underlay(ctx, area, g) {
    ctx.save();
    ctx.beginPath();
    ctx.rect(area.x, area.y, area.w, area.h);
    ctx.clip();
    data.phases.forEach(function (p) {
      var fill = p.kind === 'recovery' ? '--recovery' : p.kind === 'inject' ? '--inject' : p.kind === 'baseline' ? null : '--warm';
      if (!fill) return;
      var a = g.toDomXCoord(p.start), b = g.toDomXCoord(p.end);
      ctx.fillStyle = css(fill);
      ctx.fillRect(a, area.y, b - a, area.h);
    });
    data.faults.forEach(function (f) {
      [[f.effective, '--band', []], [f.reverted, '--band', [5, 4]], [f.recovered, '--c-p50', [2, 3]]].forEach(function (m) {
        if (m[0] === null) return;
        var x = Math.round(g.toDomXCoord(m[0])) + 0.5;
        ctx.strokeStyle = css(m[1]);
        ctx.setLineDash(m[2]);
        ctx.lineWidth = 1.3;
        ctx.beginPath();
        ctx.moveTo(x, area.y);
        ctx.lineTo(x, area.y + area.h);
        ctx.stroke();
      });
    });
    ctx.restore();
  }

  /* ---- legends: text nodes only, values of the second under the pointer ---- */
  function legendInto(id, labels, colours, format, what) {
    var box = byId(id);
    return function (x, values) {
      box.textContent = '';
      if (x !== null) add(box, 'span', 'i', what(x));
      labels.forEach(function (label, i) {
        var item = add(box, 'span', 'i');
        add(item, 'span', 's').style.borderColor = css(colours[i]);
        item.appendChild(document.createTextNode(label));
        if (x !== null) {
          item.appendChild(document.createTextNode(' '));
          add(item, 'b', '', format(values[i], i));
        }
      });
    };
  }

  /* ---- one clock for all charts ---- */
  function zoomTo(range, from) {
    if (syncing) return;
    syncing = true;
    charts.forEach(function (c) { if (c.g !== from) c.g.updateOptions({ dateWindow: range }); });
    syncing = false;
    byId('unzoom').hidden = range[0] <= all[0] + 1e-6 && range[1] >= all[1] - 1e-6;
    lanes();
    if (heat) heat.draw();
  }
  function select(row) { charts.forEach(function (c) { if (row < 0) c.g.clearSelection(); else c.g.setSelection(row); c.show(row); }); }

  function timeChart(id, rows, labels, colours, options, format) {
    var show = legendInto(id + '-legend', labels, colours, format, sec);
    var base = {
      labels: ['t'].concat(labels), dateWindow: all.slice(), legend: 'never', connectSeparatedPoints: false,
      animatedZooms: false, strokeWidth: 1.6, highlightCircleSize: 3, gridLineWidth: 1, axisLineColor: css('--line'),
      gridLineColor: css('--grid'), xRangePad: 0, rightGap: 46, titleHeight: 0, underlayCallback: underlay,
      colors: colours.map(css), zoomCallback: function (a, b) { zoomTo([a, b], g); },
      highlightCallback: function (e, x, points, row) { select(row); }, unhighlightCallback: function () { select(-1); },
      interactionModel: Dygraph.defaultInteractionModel,
      axes: { x: { axisLabelFormatter: sec, pixelsPerLabel: window.innerWidth < 640 ? 45 : 70, drawGrid: false } }
    };
    Object.keys(options).forEach(function (k) { if (k !== 'axes') base[k] = options[k]; });
    Object.keys(options.axes || {}).forEach(function (k) { base.axes[k] = options.axes[k]; });
    var g = new Dygraph(byId(id), rows, base);
    /* dygraphs' own reset goes to the data's range; ours is the whole run. */
    g.resetZoom = function () { g.updateOptions({ dateWindow: all.slice() }); zoomTo(all.slice(), g); };
    charts.push({ g: g, id: id, colours: colours, show: function (row) {
      if (row < 0 || row >= rows.length) show(null, []);
      else show(rows[row][0], rows[row].slice(1));
    } });
    show(null, []);
    return g;
  }

  function rateChart() {
    var rows = data.t.map(function (t, i) { return [t + data.span[i] / 2, data.ok[i], data.fail[i], data.users[i]]; });
    timeChart('rate', rows, ['succeeded', 'failed', 'users'], ['--c-ok', '--c-fail', '--c-users'], {
      rightGap: 0, includeZero: true, fillGraph: true, fillAlpha: 0.14,
      series: { users: { axis: 'y2', fillGraph: false, strokePattern: [6, 4], stepPlot: data.t.length < 200 }, failed: { strokeWidth: 2.2 } },
      axes: { y: { axisLabelWidth: 52, axisLabelFormatter: function (v) { return rate(v); } },
        y2: { axisLabelWidth: 42, drawGrid: false, independentTicks: true, includeZero: true, axisLabelFormatter: function (v) { return v % 1 ? '' : v.toLocaleString('en'); }, valueRange: [0, Math.max.apply(null, data.users.concat([1])) * 1.15] } }
    }, function (v, i) { return i === 2 ? String(v) : rate(v); });
  }

  function timesChart() {
    var rows = data.t.map(function (t, i) { return [t + data.span[i] / 2, data.p50[i], data.p95[i], data.p99[i], data.max[i]]; });
    timeChart('times', rows, ['p50', 'p95', 'p99', 'max'], ['--c-p50', '--c-p95', '--c-p99', '--c-max'], {
      logscale: isLog, yRangePad: 6, series: { max: { strokeWidth: 0, drawPoints: true, pointSize: 2 } },
      axes: { y: { axisLabelWidth: 52, axisLabelFormatter: msTick } }
    }, ms);
  }

  var classColours = ['--c-fail', '--c-p99', '--c-max', '--c-ok', '--c-p50', '--c-users'];
  function classesChart() {
    if (!data.classes.length) {
      byId('classes').className = 'none';
      byId('classes').textContent = 'No request failed.';
      return;
    }
    var rows = data.t.map(function (t, i) { return [t + data.span[i] / 2].concat(data.classes.map(function (c) { return c.v[i]; })); });
    timeChart('classes', rows, data.classes.map(function (c) { return c.name; }),
      data.classes.map(function (c, i) { return classColours[i % classColours.length]; }), {
        stackedGraph: true, includeZero: true, fillAlpha: 0.5, stepPlot: false, strokeWidth: 1.2,
        axes: { y: { axisLabelWidth: 52, axisLabelFormatter: rate } }
      }, rate);
  }

  /* ---- phases and faults, aligned with the plots below them ---- */
  function lanes() {
    var box = byId('lanes'), g = charts[0].g, area = g.getArea(), shown = g.xAxisRange(), names = [];
    box.textContent = '';
    function place(parent, className, from, to, text, title) {
      var a = Math.max(from, shown[0]), b = Math.min(to, shown[1]);
      if (b < a) return;
      var e = add(parent, 'span', className, text), k = area.w / (shown[1] - shown[0]);
      e.style.left = area.x + (a - shown[0]) * k + 'px';
      e.style.width = (b - a) * k + 'px';
      e.title = title;
    }
    function mark(parent, at, sign, title) {
      if (at === null || at < shown[0] || at > shown[1]) return;
      var e = add(parent, 'span', 'mark', sign);
      e.style.left = area.x + (at - shown[0]) * area.w / (shown[1] - shown[0]) + 'px';
      e.title = title + ' at ' + at.toFixed(3) + ' s';
    }
    /* The name stands before what it names, or after it when there is no room. */
    function label(lane, text, from, to) {
      var k = area.w / (shown[1] - shown[0]), a = area.x + (Math.max(from, shown[0]) - shown[0]) * k - 12, b = area.x + (to - shown[0]) * k + 14;
      var e = add(lane, 'span', 'name', text), before = a > area.x + area.w / 3 || b > area.x + area.w * 0.7;
      e.title = text;
      e.style.left = (before ? 0 : b) + 'px';
      if (before) e.style.width = Math.max(a, 60) + 'px';
      e.style.textAlign = before ? 'right' : 'left';
    }
    var strip = add(box, 'div', 'lane');
    data.phases.forEach(function (p) { place(strip, 'seg ' + p.kind, p.start, p.end, p.name, p.name + ': ' + p.start.toFixed(1) + ' to ' + p.end.toFixed(1) + ' s'); });
    data.faults.forEach(function (f) { if (names.indexOf(f.name) < 0 && names.length < 8) names.push(f.name); });
    names.forEach(function (name) {
      var lane = add(box, 'div', 'lane'), from = Infinity, to = 0;
      data.faults.forEach(function (f) {
        if (f.name !== name) return;
        from = Math.min(from, f.effective === null ? f.planned : f.effective);
        to = Math.max(to, f.effective === null ? f.planned : Math.max(f.effective, f.reverted || 0, f.felt ? f.recovered || data.duration : 0));
        if (f.effective === null) { mark(lane, f.planned, '○', f.title + ': planned, did not happen'); return; }
        var end = f.reverted === null ? (f.one_shot ? f.effective : data.duration) : f.reverted;
        place(lane, 'fault-band', f.effective, end, '', f.title + ' in effect');
        if (f.felt) place(lane, 'fault-tail', end, f.recovered === null ? data.duration : Math.max(f.recovered, end), '', f.title + (f.recovered === null ? ': users were not seen to recover' : ': users recover'));
        mark(lane, f.effective, '▼', f.title + ': in effect');
        if (f.reverted !== null) mark(lane, f.reverted, '▲', f.title + ': reverted');
        mark(lane, f.recovered, '✓', f.title + ': users recovered');
      });
      label(lane, name, from, to);
    });
    byId('lane-key').hidden = !names.length;
  }

  /* ---- heatmap: one column for each second, one row for a tenth of a decade ---- */
  function Heat() {
    var box = byId('heat'), canvas = add(box, 'canvas'), tip = add(box, 'div', 'tip'), low = 1e9, high = -1, top = 0;
    var columns = data.heat.columns.map(function (flat) {
      var bins = {};
      for (var i = 0; i < flat.length; i += 2) {
        bins[flat[i]] = flat[i + 1];
        low = Math.min(low, flat[i]);
        high = Math.max(high, flat[i]);
        top = Math.max(top, flat[i + 1]);
      }
      return bins;
    });
    if (high < 0) { low = 0; high = 9; }
    low = Math.max(0, low - 1);
    high += 1;
    tip.hidden = true;
    function edge(bin) { return data.heat.low_ms * Math.pow(10, bin / data.heat.per_decade); }
    function geometry() {
      var area = charts[0].g.getArea(), shown = charts[0].g.xAxisRange(), h = box.clientHeight - 22;
      return { x: area.x, w: area.w, y: 6, h: h - 6, from: shown[0], to: shown[1], rows: high - low + 1 };
    }
    function colour(n) {
      var k = Math.log(1 + n) / Math.log(1 + Math.max(top, 2));
      var ramp = root.dataset.dark === 'yes' ? [[38, 52, 84], [86, 180, 233], [250, 230, 120]] : [[206, 224, 240], [0, 114, 178], [20, 10, 60]];
      var i = k < 0.5 ? 0 : 1, f = (k - i * 0.5) * 2;
      return 'rgb(' + [0, 1, 2].map(function (c) { return Math.round(ramp[i][c] + (ramp[i + 1][c] - ramp[i][c]) * f); }).join(',') + ')';
    }
    this.draw = function () {
      var q = geometry(), scale = window.devicePixelRatio || 1, ctx = canvas.getContext('2d');
      canvas.width = box.clientWidth * scale;
      canvas.height = box.clientHeight * scale;
      canvas.style.width = box.clientWidth + 'px';
      canvas.style.height = box.clientHeight + 'px';
      ctx.setTransform(scale, 0, 0, scale, 0, 0);
      ctx.clearRect(0, 0, box.clientWidth, box.clientHeight);
      function px(t) { return q.x + (t - q.from) / (q.to - q.from) * q.w; }
      ctx.save();
      ctx.beginPath();
      ctx.rect(q.x, q.y, q.w, q.h);
      ctx.clip();
      columns.forEach(function (bins, i) {
        var a = px(data.t[i]), b = px(data.t[i] + data.span[i]);
        if (b < q.x || a > q.x + q.w) return;
        Object.keys(bins).forEach(function (bin) {
          ctx.fillStyle = colour(bins[bin]);
          var y = q.y + q.h - (bin - low + 1) / q.rows * q.h;
          ctx.fillRect(a, y, Math.max(b - a, 1) - (b - a > 4 ? 0.6 : 0), q.h / q.rows - 0.6);
        });
      });
      ctx.restore();
      ctx.save();
      ctx.setLineDash([]);
      underlayEdges(ctx, q, px);
      ctx.restore();
      ctx.fillStyle = css('--soft');
      ctx.strokeStyle = css('--line');
      ctx.font = '11px system-ui, sans-serif';
      ctx.textAlign = 'right';
      ctx.textBaseline = 'middle';
      for (var bin = low; bin <= high + 1; bin++) {
        if (bin % data.heat.per_decade) continue;
        var y = q.y + q.h - (bin - low) / q.rows * q.h;
        ctx.fillText(msTick(+edge(bin).toPrecision(2)), q.x - 6, Math.max(y, 7));
        ctx.beginPath();
        ctx.moveTo(q.x - 3, y);
        ctx.lineTo(q.x, y);
        ctx.stroke();
      }
      ctx.strokeRect(q.x + 0.5, q.y + 0.5, q.w - 1, q.h - 1);
      ctx.textAlign = 'center';
      ctx.textBaseline = 'top';
      timeTicks(q).forEach(function (t) { ctx.fillText(sec(t), Math.min(Math.max(px(t), q.x + 8), q.x + q.w - 12), q.y + q.h + 5); });
    };
    function timeTicks(q) {
      var want = Math.max(2, q.w / 90), raw = (q.to - q.from) / want, unit = Math.pow(10, Math.floor(Math.log10(raw)));
      var step = [1, 2, 5, 10].map(function (m) { return m * unit; }).filter(function (s) { return s >= raw; })[0], out = [];
      for (var t = Math.ceil(q.from / step) * step; t <= q.to; t += step) out.push(t);
      return out;
    }
    function underlayEdges(ctx, q, px) {
      data.faults.forEach(function (f) {
        [[f.effective, []], [f.reverted, [5, 4]]].forEach(function (m) {
          if (m[0] === null || m[0] < q.from || m[0] > q.to) return;
          ctx.strokeStyle = css('--band');
          ctx.setLineDash(m[1]);
          ctx.beginPath();
          ctx.moveTo(px(m[0]), q.y);
          ctx.lineTo(px(m[0]), q.y + q.h);
          ctx.stroke();
        });
      });
      ctx.setLineDash([]);
    }
    function at(event) {
      var q = geometry(), r = box.getBoundingClientRect(), x = event.clientX - r.left, y = event.clientY - r.top;
      var t = q.from + (x - q.x) / q.w * (q.to - q.from), bin = low + Math.floor((q.y + q.h - y) / q.h * q.rows), i = -1;
      data.t.forEach(function (s, k) { if (t >= s && t < s + data.span[k]) i = k; });
      if (i < 0 || x < q.x || x > q.x + q.w || bin < low || bin > high) return null;
      return { i: i, bin: bin, x: x, y: y };
    }
    box.addEventListener('mousemove', function (event) {
      var hit = at(event);
      tip.hidden = !hit;
      if (!hit) return;
      tip.textContent = sec(data.t[hit.i]) + ' · ' + ms(edge(hit.bin)) + ' to ' + ms(edge(hit.bin + 1)) + ' · ' + (columns[hit.i][hit.bin] || 0) + ' requests';
      tip.style.left = Math.min(hit.x + 12, box.clientWidth - tip.offsetWidth - 4) + 'px';
      tip.style.top = Math.max(0, hit.y - 30) + 'px';
      select(hit.i);
    });
    box.addEventListener('mouseleave', function () { tip.hidden = true; select(-1); });
    this.legend = function () {
      var legend = byId('heat-legend');
      legend.textContent = '';
      var item = add(legend, 'span', 'i', 'requests: few ');
      [0.05, 0.2, 0.4, 0.6, 0.8, 1].forEach(function (k) {
        var s = add(item, 'span');
        s.style.cssText = 'display:inline-block;width:1.2em;height:.75em;vertical-align:-1px;background:' + colour(Math.exp(k * Math.log(1 + Math.max(top, 2))) - 1);
      });
      item.appendChild(document.createTextNode(' many (at most ' + top.toLocaleString('en') + ')'));
    };
  }

  /* ---- spectrum: x = 1/(1-p), so that each further nine has the same room ---- */
  var hiddenSpectra = {};
  function spectrumChart() {
    var per = data.spectrum.per_decade, series = data.spectrum.series, longest = 0;
    if (!series.length) {
      byId('spectrum').className = 'none';
      byId('spectrum').textContent = 'No request succeeded.';
      return null;
    }
    series.forEach(function (s) { longest = Math.max(longest, s.v.length); });
    var rows = [];
    for (var i = 0; i < longest; i++) rows.push([i / per].concat(series.map(function (s) { return i < s.v.length ? s.v[i] : null; })));
    function pct(x) {
      var p = 100 * (1 - Math.pow(10, -x));
      return 'p' + (p >= 99.99 ? +p.toFixed(4) : p >= 99 ? +p.toFixed(2) : +p.toFixed(1));
    }
    var ticks = (window.innerWidth < 640 ? [] : [0, Math.log10(20)]).concat([Math.log10(2), 1, 2, 3, 4, 5, 6]), shades = { run: '--ink', baseline: '--c-ok', 'warm-up': '--c-users', 'cool-down': '--c-users' };
    var recoveries = ['--c-p50', '--c-max'], injections = ['--c-fail', '--c-p99', '--bad'], nRecovery = 0, nInject = 0;
    /* Labels must be unique for dygraphs; names need not be. */
    var labels = series.map(function (s, k) { return String(k); });
    var colours = series.map(function (s) {
      return s.kind === 'inject' ? injections[nInject++ % 3] : s.kind === 'recovery' ? recoveries[nRecovery++ % 2] : shades[s.kind] || '--c-users';
    });
    var options = {};
    series.forEach(function (s, k) { options[labels[k]] = { strokeWidth: s.kind === 'run' ? 2.6 : 1.6, strokePattern: s.kind === 'recovery' ? [6, 3] : s.kind === 'cool-down' || s.kind === 'warm-up' ? [2, 2] : null }; });
    var g = new Dygraph(byId('spectrum'), rows, {
      labels: ['x'].concat(labels), legend: 'never', colors: colours.map(css), logscale: true, yRangePad: 6, series: options, xRangePad: 0, rightGap: 46,
      gridLineColor: css('--grid'), axisLineColor: css('--line'), highlightCircleSize: 3, dateWindow: [0, Math.max((longest - 1) / per, 1)],
      visibility: series.map(function (s, k) { return !hiddenSpectra[k]; }),
      highlightCallback: function (e, x, points, row) { legend(row); }, unhighlightCallback: function () { legend(-1); },
      axes: { y: { axisLabelWidth: 52, axisLabelFormatter: msTick },
        x: { drawGrid: true, ticker: function (a, b) { return ticks.filter(function (t) { return t >= a && t <= b + 1e-9; }).map(function (t) { return { v: t, label: pct(t) }; }); } } }
    });
    function legend(row) {
      var box = byId('spectrum-legend');
      if (box.childElementCount === 0) {
        add(box, 'span', 'i', '');
        series.forEach(function (s, k) {
          var b = add(box, 'button');
          b.type = 'button';
          b.title = 'Show or hide: ' + s.name;
          b.setAttribute('aria-pressed', hiddenSpectra[k] ? 'false' : 'true');
          add(b, 'span', 's').style.borderColor = css(colours[k]);
          b.appendChild(document.createTextNode(s.name + ' '));
          add(b, 'b');
          b.addEventListener('click', function () {
            hiddenSpectra[k] = !hiddenSpectra[k];
            b.setAttribute('aria-pressed', hiddenSpectra[k] ? 'false' : 'true');
            g.setVisibility(k, !hiddenSpectra[k]);
          });
        });
      }
      box.firstChild.textContent = row < 0 ? data.judged + ' at percentile' : pct(rows[row][0]);
      series.forEach(function (s, k) { box.children[k + 1].lastChild.textContent = row < 0 ? '' : ms(rows[row][k + 1]); });
    }
    byId('spectrum-legend').textContent = '';
    legend(-1);
    return g;
  }

  /* ---- the page ---- */
  var spectrum = null;
  function isDark() {
    if (root.dataset.theme) return root.dataset.theme === 'dark';
    return window.matchMedia && matchMedia('(prefers-color-scheme: dark)').matches;
  }
  function drawAll() {
    var shown = charts.length ? charts[0].g.xAxisRange() : null;
    root.dataset.dark = isDark() ? 'yes' : 'no';
    charts.forEach(function (c) { c.g.destroy(); });
    if (spectrum) spectrum.destroy();
    charts = [];
    rateChart();
    timesChart();
    classesChart();
    spectrum = spectrumChart();
    if (!heat) heat = new Heat();
    heat.legend();
    zoomTo(shown || all.slice(), null);
    root.dataset.ready = String(charts.length + (spectrum ? 1 : 0) + 1);
  }
  function setTheme(theme) {
    root.dataset.theme = theme;
    drawAll();
  }
  function sortable(table) {
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (head, column) {
      var name = head.textContent, body = table.tBodies[0];
      head.textContent = '';
      var button = add(head, 'button', '', name);
      if (column && body.rows.length && body.rows[0].cells[column].className.indexOf('n') === 0) head.className = 'n';
      button.addEventListener('click', function () {
        var up = head.getAttribute('aria-sort') === 'descending', rows = Array.prototype.slice.call(body.rows);
        Array.prototype.forEach.call(table.tHead.rows[0].cells, function (h) { h.removeAttribute('aria-sort'); });
        head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
        rows.sort(function (a, b) {
          var x = a.cells[column], y = b.cells[column];
          var order = x.dataset.v !== undefined ? x.dataset.v - y.dataset.v : x.textContent.localeCompare(y.textContent);
          return up ? order : -order;
        });
        rows.forEach(function (r) { body.appendChild(r); });
      });
    });
  }

  all = [0, Math.max(data.duration, data.t.length ? data.t[data.t.length - 1] + data.span[data.t.length - 1] : 0, 1)];
  Array.prototype.forEach.call(document.querySelectorAll('table.sortable'), sortable);
  byId('theme').addEventListener('click', function () {
    var theme = isDark() ? 'light' : 'dark';
    try { localStorage.setItem('chaos-load-theme', theme); } catch (e) { /* file:// may have no storage */ }
    setTheme(theme);
  });
  byId('unzoom').addEventListener('click', function () { zoomTo(all.slice(), null); });
  byId('log').addEventListener('change', function () { isLog = this.checked; charts.forEach(function (c) { if (c.id === 'times') c.g.updateOptions({ logscale: isLog }); }); });
  if (window.matchMedia) matchMedia('(prefers-color-scheme: dark)').addEventListener('change', function () { if (!root.dataset.theme) drawAll(); });
  var before = null;
  window.addEventListener('beforeprint', function () { before = root.dataset.theme || ''; document.body.style.width = '700px'; setTheme('light'); }); /* charts are drawn in pixels: as wide as a page */
  window.addEventListener('afterprint', function () { document.body.style.width = ''; if (before) root.dataset.theme = before; else delete root.dataset.theme; drawAll(); });
  window.addEventListener('resize', function () { requestAnimationFrame(function () { lanes(); heat.draw(); }); });
  if (!data.t.length) {
    byId('charts').hidden = true;
    root.dataset.ready = '0';
  } else {
    drawAll();
  }
})();
