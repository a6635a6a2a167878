package appservice

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Operators see how each application service is, have it tried again, and are never shown a token.
func TestOperating(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc, quiet := newBridge(t, "irc"), newBridge(t, "quiet")
	irc.register(folder, irc.ghosts(), "protocols: [irc]", "receive_ephemeral: true")
	quiet.url = "null"
	quiet.register(folder, quiet.ghosts())
	irc.respond(500)
	w := begin(t, folder)
	alice := w.user("alice")
	ghost := w.ghost(irc, "_irc_nick")
	room := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))
	w.must(irc, "POST", "/join/"+room, ghost, m{})
	irc.until("three failures", func() bool {
		irc.mu.Lock()
		defer irc.mu.Unlock()
		for _, n := range irc.attempts {
			if n >= 3 {
				return true
			}
		}
		return false
	})
	all := ""
	shows := func(command string, wanted ...string) {
		t.Helper()
		said := w.run(strings.Fields(command)...)
		all += said
		for _, expression := range wanted {
			if !regexp.MustCompile("(?m)" + expression).MatchString(said) {
				t.Errorf("matrixon %s does not show %s:\n%s", command, expression, said)
			}
		}
	}
	shows("appservices list", `^irc +@_irc_bot:localhost .* [1-9]\d* +the application service answered 500`, `^quiet .*no traffic`)
	shows("appservices inspect irc", `^users +@_irc_\.\* \(exclusive\)$`, `^protocols +irc$`, `^ephemeral +true$`, `^rate limited +false$`, `^url +http://127`,
		`^unacknowledged bytes +[1-9]`, `^last failure +the application service answered 500`, `^failures +[3-9]`)
	resp := ok[*http.Response](t)(http.Get(w.url + "/metrics"))
	metrics := ok[[]byte](t)(io.ReadAll(resp.Body))
	resp.Body.Close()
	if !regexp.MustCompile(`matrixon_appservice_failures\{appservice="irc"\} [3-9]`).Match(metrics) {
		t.Error("the metrics do not tell of the failures")
	}
	irc.respond(200)
	shows("appservices retry irc", "irc is tried again")
	irc.until("the transaction", func() bool { return len(irc.got("events")) > 0 })
	shows("actors list --kind appservice", `^appservice +irc +`)
	shows("config show", `appservices`)
	all += w.server.Log()
	for _, secret := range []string{irc.asToken, irc.hsToken, quiet.asToken, quiet.hsToken} {
		if strings.Contains(all, secret) {
			t.Errorf("%s is shown:\n%s", secret, all)
		}
	}
	for command, why := range map[string]string{"appservices inspect nobody": "no application service", "appservices retry quiet": "wants no traffic"} {
		if said, err := w.try(strings.Fields(command)...); err == nil || !strings.Contains(said, why) {
			t.Errorf("matrixon %s: %v\n%s", command, err, said)
		}
	}
}

// Registrations are read again at SIGHUP: all of them, or none when one is wrong.
func TestReload(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	irc, late := newBridge(t, "irc"), newBridge(t, "late")
	irc.register(folder, irc.ghosts())
	w := begin(t, folder)
	hangUp := func(said string) {
		t.Helper()
		before := len(w.server.Log())
		if err := syscall.Kill(w.server.PID(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		for !strings.Contains(w.server.Log()[before:], said) {
			if w.ctx.Err() != nil {
				t.Fatalf("the server does not say %q:\n%s", said, w.server.Log()[before:])
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	const done, refusal = "the configuration was read again", "the configuration stays as it was"
	_, err := w.call(late, "GET", "/account/whoami", "", nil)
	refused(t, "before it is registered", err, 401, "M_UNKNOWN_TOKEN")

	late.register(folder, `{users: [{exclusive: true, regex: "(["}]}`)
	hangUp(refusal)
	if log := w.server.Log(); !regexp.MustCompile(`late\.yaml:\d+:\d+.*namespaces\.users\.0\.regex`).MatchString(log) {
		t.Errorf("it does not say what is wrong, and where:\n%s", log)
	}
	_, err = w.call(late, "GET", "/account/whoami", "", nil)
	refused(t, "while one is wrong", err, 401, "M_UNKNOWN_TOKEN")
	for what, change := range map[string][2]string{"an id twice": {"id: late", "id: irc"}, "a token twice": {late.asToken, irc.asToken}, "no sender": {"sender_localpart", "x"}, "a user twice": {"_late_bot", "_irc_bot"}} {
		late.register(folder, late.ghosts())
		file := filepath.Join(folder, "late.yaml")
		text := ok[[]byte](t)(os.ReadFile(file)) //nolint:gosec // of this test
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), change[0], change[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if said, err := w.try("config", "check"); err == nil || !strings.Contains(said, "late.yaml") {
			t.Errorf("%s: %v\n%s", what, err, said)
		}
	}

	late.register(folder, late.ghosts())
	hangUp(done)
	alice := w.user("alice")
	room := ok[string](t)(alice.CreateRoom(w.ctx, m{"preset": "public_chat"}))
	for _, b := range []*bridge{irc, late} {
		w.must(b, "POST", "/join/"+room, w.ghost(b, "_"+b.id+"_nick"), m{})
	}
	first := ok[string](t)(alice.Send(w.ctx, room, "m.room.message", "1", m{"body": "x"}))
	irc.until("an event", func() bool { return irc.has(first) })
	late.until("an event", func() bool { return late.has(first) })

	if err := os.Remove(filepath.Join(folder, "irc.yaml")); err != nil {
		t.Fatal(err)
	}
	hangUp(done)
	_, err = w.call(irc, "GET", "/account/whoami", "", nil)
	refused(t, "when it is registered no more", err, 401, "M_UNKNOWN_TOKEN")
	second := ok[string](t)(alice.Send(w.ctx, room, "m.room.message", "2", m{"body": "x"}))
	late.until("an event", func() bool { return late.has(second) })
	irc.register(folder, irc.ghosts())
	hangUp(done) // within the day for which its place is kept
	irc.until("what happened meanwhile", func() bool { return irc.has(second) })
	if log := w.server.Log(); strings.Contains(log, irc.asToken) || strings.Contains(log, late.hsToken) {
		t.Errorf("a token is logged:\n%s", log)
	}
}
