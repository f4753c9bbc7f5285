// Keeps an open page up to date: listens for changes, fetches the page's fragment and morphs the page into it.
"use strict";
(() => {
  const REST = 1000; // ms between two fetches, but at least five times the duration of the last one
  const ANYWAY = 15000; // ms after which it is fetched without a change, since times like "2m ago" become outdated
  const TYPING = 200;
  const root = document.documentElement.dataset.root;
  const live = document.getElementById("live");
  const main = document.getElementById("main");
  let stream = null;
  let timer = 0;
  let due = Infinity;
  let rest = REST;
  let last = -Infinity;
  let asked = 0;
  document.documentElement.classList.add("scripted");

  // Shows local times besides UTC: in the tooltip of each time, and below those that are written out.
  const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
  const localize = (inside) => {
    for (const time of inside.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (!time.dateTime.includes("T") || Number.isNaN(at.getTime())) continue;
      const local = zone.format(at);
      time.title = `${local} · ${time.dateTime}`;
      if (time.classList.contains("stamp") && at.getTimezoneOffset()) time.dataset.local = local;
    }
  };

  const say = (state, words) => {
    if (live.dataset.state === state) return;
    live.dataset.state = state;
    live.querySelector(".words").textContent = words;
  };

  // Morphs an element into another one. Nodes that remain keep their focus, scroll position and open state.
  const sync = (from, to) => {
    for (const { name } of [...from.attributes]) {
      if (!to.hasAttribute(name) && !(name === "open" && from.localName === "details")) from.removeAttribute(name);
    }
    for (const { name, value } of [...to.attributes]) {
      const mine = name === "open" && from.localName === "details";
      if (!mine && from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
    children(from, to);
  };

  const children = (from, to) => {
    const named = new Map();
    for (const child of from.children) if (child.id) named.set(child.id, child);
    let place = from.firstChild;
    for (const wanted of [...to.childNodes]) {
      let found = wanted.id ? named.get(wanted.id) : place;
      if (!wanted.id && found && found.id) found = null;
      if (found && found.nodeName === wanted.nodeName) {
        if (found === place) place = place.nextSibling;
        else from.insertBefore(found, place);
        if (found.nodeType === Node.ELEMENT_NODE) sync(found, wanted);
        else if (found.data !== wanted.data) found.data = wanted.data;
      } else {
        from.insertBefore(document.importNode(wanted, true), place);
      }
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
  };

  const later = (wait) => {
    const at = Math.max(performance.now() + wait, last + rest);
    if (at >= due) return;
    due = at;
    clearTimeout(timer);
    timer = setTimeout(refresh, at - performance.now());
  };

  const refresh = async () => {
    clearTimeout(timer);
    due = Infinity;
    if (document.hidden) return;
    const mine = ++asked;
    const begun = performance.now();
    const address = new URL(location.href);
    address.searchParams.set("fragment", "1");
    address.hash = "";
    try {
      const answer = await fetch(address, { headers: { Accept: "text/html" } });
      const text = await answer.text();
      if (mine !== asked) return;
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(text, "text/html");
      const inside = fresh.querySelector("main");
      if (!inside) throw new Error("no page");
      localize(inside);
      sync(main, inside);
      document.title = fresh.title;
      main.dispatchEvent(new Event("fresh"));
      if (stream && stream.readyState === EventSource.OPEN) say("on", "live");
    } catch {
      if (mine === asked) say("off", "not reachable, trying again");
    }
    last = performance.now();
    rest = Math.max(REST, 5 * (last - begun));
    later(ANYWAY);
  };

  // Whether a change concerns this page.
  const concerns = (event) => {
    if (!main.dataset.job || event.type === "much") return true;
    const changed = JSON.parse(event.data);
    return changed.org === main.dataset.org && changed.job === main.dataset.job;
  };

  const listen = () => {
    if (stream || document.hidden) return;
    const mine = (stream = new EventSource(root + "api/v1/stream"));
    stream.addEventListener("hello", () => {
      say("on", "live");
      later(0);
    });
    for (const kind of ["job", "delivery", "org", "much"]) {
      stream.addEventListener(kind, (event) => concerns(event) && later(50));
    }
    stream.addEventListener("error", () => {
      say("off", "not reachable, trying again");
      if (mine.readyState !== EventSource.CLOSED || mine !== stream) return;
      stream = null; // refused: an EventSource does not reconnect by itself then
      setTimeout(listen, 5000);
    });
  };

  // A browser has few connections per server, so only a visible page holds one.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      if (stream) stream.close();
      stream = null;
    } else {
      listen();
      later(0);
    }
  });

  const go = (address, replacing) => {
    history[replacing ? "replaceState" : "pushState"](null, "", address);
    last = -Infinity;
    refresh();
  };

  const form = document.getElementById("filters");
  if (form) {
    let typing = 0;
    const wanted = () => {
      const given = new URLSearchParams(new FormData(form));
      for (const [name, value] of [...given]) if (!value || (name === "sort" && value === "newest")) given.delete(name);
      return given.size ? "?" + given : location.pathname;
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      go(wanted(), false);
    });
    form.addEventListener("input", () => {
      clearTimeout(typing);
      typing = setTimeout(() => go(wanted(), true), TYPING);
    });
  }

  const refill = () => {
    const given = new URLSearchParams(location.search);
    for (const field of form ? form.elements : []) {
      if (field.name) field.value = given.get(field.name) || (field.name === "sort" ? "newest" : "");
    }
  };

  addEventListener("popstate", () => {
    refill();
    go(location.href, true);
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[data-live]");
    if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    go(link.href, false);
    refill();
  });

  // Shows the values under the pointer.
  main.addEventListener("pointermove", (event) => {
    const drawing = event.target.closest && event.target.closest(".chart svg");
    if (!drawing) return;
    const chart = drawing.closest(".chart");
    const box = drawing.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    let near = null;
    for (const point of JSON.parse(chart.dataset.points)) {
      if (!near || Math.abs(point[0] - share) < Math.abs(near[0] - share)) near = point;
    }
    const figures = ["training", "validation"].map((word, index) =>
      near[index + 2] === null ? "" : `${word} ${Number(near[index + 2].toPrecision(4))}`);
    chart.querySelector(".readout").textContent = [`step ${near[1]}`, ...figures.filter(Boolean)].join(" · ");
    chart.querySelector(".cursor").setAttribute("d", `M${1000 * near[0]} 0V300`);
  });

  localize(main);
  listen();
  later(ANYWAY);
})();
