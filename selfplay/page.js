(function () {
  "use strict";
  // Everything is put into the page as text nodes: nothing that a model wrote is ever read as markup.
  var data = JSON.parse(document.getElementById("data").textContent);
  function get(id) { return document.getElementById(id); }
  var meeting = get("meeting"), game = get("game"), back = get("back"), next = get("next");
  var step = get("step"), turn = get("turn"), at = 0;

  function element(tag, kind, text) {
    var made = document.createElement(tag);
    if (kind) made.className = kind;
    made.textContent = text;
    return made;
  }

  function fill(select, items) {
    select.replaceChildren();
    items.forEach(function (item, number) {
      var option = element("option", "", item.label);
      option.value = String(number);
      select.append(option);
    });
  }

  function said(kind, text) {
    var box = element("pre", kind, text);
    box.dir = "auto";
    return box;
  }

  function current() { return data.meetings[meeting.selectedIndex].games[game.selectedIndex]; }

  function show() {
    var played = current(), count = played.turns.length, box = document.createElement("div");
    box.className = "turn";
    if (at < count) {
      var one = played.turns[at];
      box.append(element("h3", "", one.who), element("h4", "", "It was shown"), said("prompt", data.texts[one.prompt]));
      box.append(element("h4", "", "It replied"), said("reply", data.texts[one.reply]));
      if (one.problem) box.append(element("p", "problem", "This was no move: " + one.problem + "."));
    } else {
      box.append(element("h3", "", "The end"), element("p", "", played.end));
    }
    turn.replaceChildren(box);
    step.textContent = at < count ? "turn " + (at + 1) + " of " + count : "the end, after " + count + " turns";
    back.disabled = at === 0;
    next.disabled = at >= count;
  }

  function start() { at = 0; show(); }
  function meet() { fill(game, data.meetings[meeting.selectedIndex].games); start(); }
  function go(by) {
    at = Math.min(Math.max(at + by, 0), current().turns.length);
    show();
  }

  if (data.left) get("left").textContent = data.left + " more games did not fit; they are in report.json.";
  if (data.meetings.length) {
    fill(meeting, data.meetings);
    meeting.addEventListener("change", meet);
    game.addEventListener("change", start);
    back.addEventListener("click", function () { go(-1); });
    next.addEventListener("click", function () { go(1); });
    get("controls").addEventListener("keydown", function (event) {
      // Arrows in a list choose from the list.
      if (event.target.tagName === "SELECT") return;
      if (event.key === "ArrowLeft") go(-1);
      if (event.key === "ArrowRight") go(1);
    });
    get("controls").hidden = false;
    meet();
  } else {
    turn.append(element("p", "", "No games to show."));
  }
  document.documentElement.dataset.ready = "true";
})();
