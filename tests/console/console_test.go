// Package console uses the operator's console in a browser, on a cluster of three nodes.
package console

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

const password = "a long password"

// nodes starts a cluster with an administrator and some rooms.
func nodes(t *testing.T, ctx context.Context) ([]*local.Node, []string) { //nolint:revive // t first, as in all tests
	t.Helper()
	consul, err := local.StartConsul(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(consul.Stop)
	db, err := local.StartPostgres(ctx, filepath.Join(t.TempDir(), "db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Stop)
	var all []*local.Node
	for _, name := range []string{"node-a", "node-b", "node-c"} {
		n, err := local.NewNode(local.NodeOptions{Name: name, Program: binary.Program(t), Dir: filepath.Join(t.TempDir(), name), Secret: "the secret of the test",
			Postgres: db.URL(db.Address, "matrixon"), Consul: consul.Address,
			Settings: []string{"limits.enabled=false", "registration.open=true", "password_hash.memory_kib=64", "password_hash.iterations=1"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(ctx); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.Stop)
		all = append(all, n)
	}
	nobody := &matrixclient.Client{URL: all[0].URL, HTTP: http.DefaultClient}
	boss, err := nobody.Register(ctx, "boss", password)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nobody.Register(ctx, "alice", password); err != nil {
		t.Fatal(err)
	}
	if _, err := all[0].Run(ctx, "user", "admin", "boss"); err != nil {
		t.Fatal(err)
	}
	var rooms []string
	for i := range 9 {
		id, err := boss.CreateRoom(ctx, matrixclient.J{"preset": "public_chat", "name": fmt.Sprintf("room %d <b>", i)})
		if err != nil {
			t.Fatal(err)
		}
		rooms = append(rooms, id)
	}
	return all, rooms
}

// browser starts a Chromium that ends with the test. Confirmations are agreed to.
func browser(t *testing.T) context.Context {
	t.Helper()
	program, err := exec.Command("../../scripts/chromium.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(strings.TrimSpace(string(program))), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 900), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-background-networking", true))
	allocated, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(func() {
		cancel()
		stop()
	})
	if err := chromedp.Run(ctx); err != nil { // the browser lives as long as the context it was started with
		t.Fatal(err)
	}
	chromedp.ListenTarget(ctx, func(event any) {
		if _, ok := event.(*page.EventJavascriptDialogOpening); ok {
			go chromedp.Run(ctx, page.HandleJavaScriptDialog(true)) //nolint:errcheck // the page goes on without it, and the test sees that
		}
	})
	return ctx
}

// TestConsole logs in, looks at everything and steers the cluster.
func TestConsole(t *testing.T) {
	t.Parallel()
	outer, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	all, rooms := nodes(t, outer)
	tab := browser(t)
	console := all[1].URL + "/_matrixon/console"

	do := func(what string, actions ...chromedp.Action) {
		t.Helper()
		ctx, cancel := context.WithTimeout(tab, 30*time.Second)
		defer cancel()
		if err := chromedp.Run(ctx, actions...); err != nil {
			var html string
			_ = chromedp.Run(tab, chromedp.OuterHTML("body", &html))
			t.Fatalf("%s: %v\n%.3000s", what, err, html)
		}
	}
	// text waits until an element has the text, in whatever page comes.
	text := func(css, wanted string) chromedp.Action {
		look := fmt.Sprintf(`[...document.querySelectorAll(%q)].some(e => e.textContent.includes(%q))`, css, wanted)
		return chromedp.ActionFunc(func(ctx context.Context) error {
			for {
				var there bool
				if err := chromedp.Evaluate(look, &there).Do(ctx); err == nil && there { // a page that is being left cannot be asked
					return nil
				}
				select {
				case <-time.After(30 * time.Millisecond):
				case <-ctx.Done():
					return fmt.Errorf("no %s has %q: %w", css, wanted, ctx.Err())
				}
			}
		})
	}
	// picture keeps a picture for whoever wants to look, in the folder CONSOLE_SHOTS.
	picture := func(name string) {
		t.Helper()
		if dir := os.Getenv("CONSOLE_SHOTS"); dir != "" {
			var png []byte
			do("a picture", chromedp.FullScreenshot(&png, 100))
			if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}

	do("the login page", chromedp.Navigate(console), chromedp.WaitVisible(`input[name=user]`))
	picture("login")
	do("somebody who is no administrator", chromedp.SendKeys(`input[name=user]`, "alice"), chromedp.SendKeys(`input[name=password]`, password), chromedp.Click(`form.stack button`),
		text(".trouble", "administrator"))
	do("an administrator", chromedp.SetValue(`input[name=user]`, "boss"), chromedp.SendKeys(`input[name=password]`, password), chromedp.Click(`form.stack button`), chromedp.WaitVisible(`article[data-node=node-c]`))
	picture("nodes")
	var cookies string
	do("what scripts see of the session", chromedp.Evaluate(`document.cookie + location.href + document.documentElement.outerHTML`, &cookies))
	if strings.Contains(cookies, "mxat_") {
		t.Error("the access token can be read from the page")
	}

	do("actors", chromedp.Navigate(console+"/actors?kind=room&sort=rate"), text("td a", rooms[0]), text("th[aria-sort]", "Messages"))
	picture("actors")
	var rows int
	do("actors of a node", chromedp.Navigate(console+"/actors?kind=user&node=nowhere"), text(".trouble", "there is no node"))
	do("actors that match", chromedp.Navigate(console+"/actors?match="+url.QueryEscape(rooms[3])), text("td a", rooms[3]), chromedp.Evaluate(`document.querySelectorAll("tbody tr").length`, &rows))
	if rows != 1 {
		t.Errorf("%d actors match one id", rows)
	}

	actor := console + "/actor?kind=room&id=" + url.QueryEscape(rooms[0])
	var home string
	do("one actor", chromedp.Navigate(actor), text("dt", "Lives on"), text("dt", "extremity ids"), chromedp.Evaluate(`document.querySelector("dd").textContent`, &home))
	to := "node-a"
	if home == to {
		to = "node-b"
	}
	do("moving it", chromedp.SetValue(`select[name=to]`, to), chromedp.Click(`form[action$="/actor/move"] button`))
	do("where it is then", chromedp.Navigate(actor), text("body", rooms[0]))
	nobody := &matrixclient.Client{URL: all[2].URL, HTTP: http.DefaultClient}
	boss, err := nobody.Login(outer, "boss", password, "OTHER")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := boss.Send(outer, rooms[0], "m.room.message", "x", matrixclient.J{"msgtype": "m.text", "body": "wake"}); err != nil {
		t.Fatal(err)
	}
	do("it lives elsewhere, without reloading", text("dd", to))
	picture("actor")

	do("rooms", chromedp.Navigate(console+"/rooms?match=room+4"), text("td a", "room 4 <b>"))
	picture("rooms")
	do("one room", chromedp.Click("td a"), text("h1", "room 4 <b>"), text("dt", "Journal"), text("td", "@boss:localhost"))
	picture("room")

	do("users", chromedp.Navigate(console+"/users?match=alice"), text("td", "@alice:localhost"))
	do("a user is locked", chromedp.Click(`form:has(input[value=locked]) button`), text(".tag", "locked"))
	picture("users")

	do("a plan", chromedp.Navigate(console+"/nodes"), chromedp.Click(`form[action$="/nodes/rebalance"] button`), text("#result", "evenly busy"))
	do("a drain", chromedp.Click(`article[data-node=node-a] form button`), text("article[data-node=node-a] .tag", "draining"))
	picture("draining")
	status, err := all[2].Run(outer, "actors", "list", "--node", "node-a")
	if err != nil || strings.Contains(status, "!") {
		t.Errorf("node-a has rooms after its drain: %v %s", err, status)
	}
	do("the end of the drain", chromedp.Click(`article[data-node=node-a] form button`), text("article[data-node=node-a] .tag", "serving"))

	do("logging out", chromedp.Click(`header form button`), chromedp.WaitVisible(`input[name=user]`))
	do("afterwards", chromedp.Navigate(console+"/nodes"), chromedp.WaitVisible(`input[name=user]`))
	for _, n := range all {
		if log := n.Process().Log(); strings.Contains(log, "mxat_") || strings.Contains(log, password) {
			t.Errorf("the log of %s has a secret", n.Name)
		}
	}
}
