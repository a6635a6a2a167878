// Package console uses the web console in a browser, on a cluster of three nodes behind a load balancer.
package console

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/matrixon/matrixon/tests/matrixclient"
)

// TestConsole logs in, looks at everything and steers the cluster.
func TestConsole(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute) // the first time Consul is built
	t.Cleanup(cancel)
	f := newFleet(ctx, t)
	b := newTab(t)
	console := f.url + "/_matrixon/console"
	logIn(b, console)
	actors(b, f, console)
	moving(ctx, b, f, console)
	rooms(b, console)
	users(b, console)
	draining(ctx, b, f, console)
	rebalancing(ctx, b, f, console)
	pausing(b, console)
	b.do("logging out", chromedp.Click("#logout"), chromedp.WaitVisible("#user"))
	b.do("afterwards", chromedp.Navigate(console+"/users"), chromedp.WaitVisible("#user"))
	b.quiet()
	for _, n := range f.nodes {
		if log := n.Process().Log(); strings.Contains(log, "mxat_") || strings.Contains(log, password) || !strings.Contains(log, "/_matrixon/console") {
			t.Errorf("the log of %s has a secret, or nothing:\n%.2000s", n.Name, log)
		}
	}
}

func logIn(b *tab, console string) {
	b.t.Helper()
	b.do("the login page", chromedp.Navigate(console), chromedp.WaitVisible("#user"))
	b.picture("login")
	b.do("somebody who is no administrator", chromedp.SendKeys("#user", "alice"), chromedp.SendKeys("#password", password), chromedp.Click("#login"), text("#refused", "not an administrator"))
	b.picture("refused")
	b.do("an administrator", chromedp.SetValue("#user", "boss"), chromedp.SendKeys("#password", password), chromedp.Click("#login"), text("#node-node-c .badge", "serving"))
	b.picture("nodes")
	var seen string
	b.do("what scripts see of the session", chromedp.Evaluate(`document.cookie + location.href + document.documentElement.outerHTML`, &seen))
	if strings.Contains(seen, "mxat_") || strings.Contains(seen, password) {
		b.t.Error("a secret can be read from the page")
	}
}

func actors(b *tab, f *fleet, console string) {
	b.t.Helper()
	const one = `document.querySelectorAll("tbody tr").length === 1`
	b.do("actors", chromedp.Navigate(console+"/actors"), text("td a", f.rooms[0]), text("td a", "@boss:localhost"))
	b.picture("actors")
	b.do("of one kind, without a click", chromedp.SetValue("#kind", "user"), chromedp.Evaluate(`document.querySelector("#kind").dispatchEvent(new Event("input", {bubbles: true}))`, nil),
		script(`![...document.querySelectorAll("tbody tr")].some(r => r.dataset.id.startsWith("!"))`), script(`location.search.includes("kind=user")`))
	b.do("that match", chromedp.Navigate(console+"/actors"), chromedp.SendKeys("#match", f.rooms[3]), script(one), text("td a", f.rooms[3]))
	b.do("what is typed stays while the list lives on", chromedp.WaitEnabled("#match"), script(`performance.getEntriesByType("resource").filter(e => e.name.includes("match=")).length > 2`), script(one),
		script(`document.querySelector("#match").value !== "" && document.activeElement.id === "match"`))
	b.do("sorted by a heading", chromedp.Navigate(console+"/actors?kind=room"), chromedp.Click("#by-messages"), text("th[aria-sort=descending]", "Messages"), script(`(() => {
		const n = [...document.querySelectorAll("tbody tr")].map(r => Number(r.children[5].textContent.replace(/\D/g, "")));
		return n.length > 1 && n.every((x, i) => i === 0 || n[i-1] >= x);
	})()`))
	b.do("of one node", chromedp.Navigate(console+"/actors?node=node-b"), script(`[...document.querySelectorAll("tbody tr")].every(r => r.children[1].textContent === "node-b")`))
	b.do("of no node", chromedp.Navigate(console+"/actors?node=nowhere"), text(".trouble", "there is no node"))
}

// moving moves a room by hand: it lives elsewhere, and the page says so by itself.
func moving(ctx context.Context, b *tab, f *fleet, console string) {
	b.t.Helper()
	roomID := f.rooms[0]
	var home string
	b.do("one actor", chromedp.Navigate(console+"/actors/room/"+url.PathEscape(roomID)), text("dt", "Journal position"), text("section", "None since"), chromedp.Text("#home", &home, chromedp.ByQuery))
	to := "node-a"
	if home == to {
		to = "node-b"
	}
	b.do("a change of mind", chromedp.SetValue("#to", to), chromedp.Click("#move"), chromedp.WaitVisible("#confirm"), chromedp.Click("#no"), chromedp.WaitNotVisible("#confirm"))
	b.do("moving it", chromedp.Click("#move"), chromedp.WaitVisible("#confirm"))
	b.picture("confirm")
	b.do("moving it", chromedp.Click("#yes"), told("lives on "+to), text("#home", to), text(".badge", "pinned"))
	if _, err := f.boss.Send(ctx, roomID, "m.room.message", "wake", matrixclient.J{"msgtype": "m.text", "body": "wake"}); err != nil {
		b.t.Fatal(err)
	}
	b.do("it wakes there", text(".badge.good", "active"), text("#home", to))
	b.picture("actor")
	b.do("to rest", confirm("#stop"), told("at rest"), text("h2 .badge", "at rest"))
	b.do("to where the cluster wants it", chromedp.SetValue("#to", ""), confirm("#move"), told("The cluster decides"), script(`![...document.querySelectorAll(".badge")].some(e => e.textContent === "pinned")`))
}

func rooms(b *tab, console string) {
	b.t.Helper()
	b.do("rooms", chromedp.Navigate(console+"/rooms"), text("td a", "room 4 <b>"))
	b.picture("rooms")
	b.do("one room", chromedp.SendKeys("#match", "ROOM 4\r"), script(`location.search.includes("match=ROOM")`), text("td a", "room 4 <b>"), chromedp.Click("td a"), text("h1", "room 4 <b>"),
		text("#members td", "@boss:localhost"), text("dt", "Extremities (1)"))
	b.picture("room")
	b.do("members who were banned", chromedp.SetValue("#membership", "ban"), chromedp.Evaluate(`document.querySelector("#membership").dispatchEvent(new Event("input", {bubbles: true}))`, nil), text("#members", "Nobody"))
}

func users(b *tab, console string) {
	b.t.Helper()
	const alice = `tr[data-id="@alice:localhost"]`
	b.do("users", chromedp.Navigate(console+"/users"), text("td", "@alice:localhost"), script(`document.querySelectorAll('tr[data-id="@boss:localhost"] button').length === 0`))
	b.do("a user is locked", confirm(alice+` button`), text(alice+" .badge", "locked"), told("is locked"))
	b.picture("users")
	b.do("and unlocked", confirm(alice+` button`), script(`!document.querySelector('`+alice+` .badge')`))
	b.do("the account", chromedp.Click(alice+" a"), text("h1", "@alice:localhost"), text("button", "Deactivate"))
	b.picture("user")
	b.do("reports", chromedp.Navigate(console+"/reports"), text(".empty", "Nobody has reported anything"))
}

func draining(ctx context.Context, b *tab, f *fleet, console string) {
	b.t.Helper()
	b.do("a drain", chromedp.Navigate(console), confirm("#drain-node-a"), text("#node-node-a .badge", "draining"), text("#node-node-a .gauge", "rooms0"))
	b.picture("draining")
	status, err := f.nodes[2].Run(ctx, "actors", "list", "--node", "node-a")
	if err != nil || strings.Contains(status, "!") {
		b.t.Errorf("node-a has rooms after its drain: %v %s", err, status)
	}
	b.do("the end of the drain", confirm("#undrain-node-a"), text("#node-node-a .badge", "serving"))
}

// rebalancing keeps one node much busier than the others, and follows the plan that evens it out.
func rebalancing(ctx context.Context, b *tab, f *fleet, console string) {
	b.t.Helper()
	for _, roomID := range f.rooms {
		f.home(ctx, roomID, "node-c")
	}
	stop := f.chatter(ctx, f.rooms)
	defer stop()
	b.do("a plan", chromedp.Navigate(console), chromedp.WaitVisible("#make-plan"))
	deadline := time.Now().Add(time.Minute)
	for moves := 0; moves == 0; {
		if time.Now().After(deadline) {
			b.t.Fatal("nobody minds that one node does everything")
		}
		b.do("looking", chromedp.Evaluate(`document.querySelector("#plan").firstElementChild.dataset.old = "1"; document.querySelector("#make-plan").click()`, nil),
			script(`!document.querySelector("#plan").firstElementChild.dataset.old`), chromedp.Evaluate(`document.querySelectorAll("#moves tbody tr").length`, &moves))
	}
	b.picture("plan")
	b.do("the moves", chromedp.Evaluate(`window.steps = new Set(); new MutationObserver(() => { const p = document.querySelector("#progress"); if (p) steps.add(p.value); }).observe(document.querySelector("#plan"), {childList: true, subtree: true})`, nil),
		confirm("#carry-out"), told("The load is evened out"), script(`[...document.querySelectorAll("#moves tbody .badge")].every(e => e.textContent === "moved")`),
		script(`steps.size === document.querySelectorAll("#moves tbody tr").length`))
	b.picture("evened")
	var to string
	b.do("where the first one is now", chromedp.Text("#moves tbody tr td:nth-child(3)", &to, chromedp.ByQuery))
	b.do("it is there", chromedp.Click("#moves tbody tr a"), text("#home", to))
}

// pausing stops what is live, and begins it again.
func pausing(b *tab, console string) {
	b.t.Helper()
	asked := `performance.getEntriesByType("resource").filter(e => e.initiatorType === "xmlhttprequest").length`
	var before, after int
	b.do("what is live", chromedp.Navigate(console), script(asked+` > 1`), chromedp.Click("#pause"), text("#pause[aria-pressed=true]", "Paused"), chromedp.Evaluate(asked, &before),
		chromedp.Sleep(4500*time.Millisecond), chromedp.Evaluate(asked, &after))
	if after > before+1 { // one may have been under way
		b.t.Errorf("%d requests while nothing should be asked", after-before)
	}
	b.do("again", chromedp.Click("#pause"), text("#pause[aria-pressed=false]", "Live"), script(asked+` > `+"0"))
}
