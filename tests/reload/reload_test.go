// Package reload tests that a running server takes another configuration: all of it that can change, or nothing.
package reload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

// hangUp writes the configuration file, tells the server, and waits until it has said this.
func hangUp(ctx context.Context, t *testing.T, s *binary.Server, text, said string) {
	t.Helper()
	file := filepath.Join(filepath.Dir(s.DataDir()), "matrixon.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	before := len(s.Log())
	if err := syscall.Kill(s.PID(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(s.Log()[before:], said) {
		if ctx.Err() != nil {
			t.Fatalf("the server does not say %q:\n%s", said, s.Log()[before:])
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	s := binary.Start(t)
	anybody := &matrixclient.Client{URL: s.URL, HTTP: http.DefaultClient}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	hangUp := func(text, said string) {
		t.Helper()
		hangUp(ctx, t, s, text, said)
	}
	// stages are those of the first way to register.
	stages := func(name string) string {
		t.Helper()
		answer, err := anybody.Do(ctx, "POST", "/register", matrixclient.J{"username": name, "password": "pw"})
		var no *matrixclient.Refusal
		if !errors.As(err, &no) || no.Status != http.StatusUnauthorized {
			t.Fatalf("registering: %v", err)
		}
		return answer.Get("flows.0.stages.0").Str
	}

	if got := stages("a"); got != "m.login.dummy" {
		t.Errorf("at first the stages are %s", got)
	}
	if _, err := anybody.Register(ctx, "early", "pw"); err != nil {
		t.Fatal(err)
	}
	hangUp("registration: {tokens_required: true, tokens: [sesame]}\nlogging: {level: debug}\npresence: {enabled: false}\n", "the configuration was read again")
	if !strings.Contains(s.Log(), `"keys":["presence.enabled"]`) {
		t.Errorf("it does not say what takes effect later:\n%s", s.Log())
	}
	if !strings.Contains(s.Log(), `"changed":["logging.level","registration.tokens","registration.tokens_required"]`) {
		t.Errorf("it does not say what has changed:\n%s", s.Log())
	}
	if strings.Contains(s.Log(), "sesame") {
		t.Error("the log has a secret")
	}
	if got := stages("b"); got != "m.login.registration_token" {
		t.Errorf("with tokens the stages are %s", got)
	}

	hangUp("registration: {tokens_required: false, colour: blue}\n", "the configuration stays as it was")
	if !strings.Contains(s.Log(), "registration.colour") {
		t.Errorf("it does not say what is wrong:\n%s", s.Log())
	}
	if got := stages("c"); got != "m.login.registration_token" {
		t.Errorf("a wrong configuration made the stages %s", got)
	}

	hangUp("registration: {tokens_required: false}\n", "the configuration was read again")
	if got := stages("d"); got != "m.login.dummy" {
		t.Errorf("in the end the stages are %s", got)
	}
}

// TestPolicyRules: what this server vouches for as a policy server follows its configuration while it runs.
func TestPolicyRules(t *testing.T) {
	t.Parallel()
	s := binary.Start(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	nobody := &matrixclient.Client{URL: s.URL, HTTP: http.DefaultClient}
	user := func(name string) *matrixclient.Client {
		c, err := nobody.Register(ctx, name, "pw")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	must := func(c *matrixclient.Client, method, path string, body any) {
		t.Helper()
		if _, err := c.Do(ctx, method, path, body); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := http.Get(s.URL + "/.well-known/matrix/policy_server")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	alice, bob := user("alice"), user("bob")
	room, err := alice.CreateRoom(ctx, matrixclient.J{"preset": "public_chat"})
	if err != nil {
		t.Fatal(err)
	}
	must(bob, "POST", matrixclient.Path("join", room), matrixclient.J{})
	_, server, _ := strings.Cut(alice.UserID, ":")
	must(alice, "PUT", matrixclient.Path("rooms", room, "state", "m.room.policy", ""),
		matrixclient.J{"via": server, "public_keys": matrixclient.J{"ed25519": gjson.GetBytes(raw, "public_keys.ed25519").Str}})
	sent := 0
	say := func(text, want string) {
		t.Helper()
		sent++
		_, err := bob.Send(ctx, room, "m.room.message", fmt.Sprint(sent), matrixclient.J{"msgtype": "m.text", "body": text})
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	const again = "the configuration was read again"
	say("spam", "")
	hangUp(ctx, t, s, "policy_server: {blocked_text: [spam]}\n", again)
	say("spam", "M_FORBIDDEN")
	say("ham", "")
	hangUp(ctx, t, s, "policy_server: {rate: {per_second: 0.0001, burst: 2}}\n", again)
	say("spam", "")
	say("spam", "")
	say("spam", "M_FORBIDDEN")
	hangUp(ctx, t, s, "policy_server: {blocked_text: ['(']}\n", "the configuration stays as it was")
	say("spam", "M_FORBIDDEN")
	hangUp(ctx, t, s, "{}\n", again)
	say("spam", "")
	for _, line := range strings.Split(s.Log(), "\n") {
		if strings.Contains(line, "does not vouch") && (strings.Contains(line, `"body"`) || !strings.Contains(line, `"rule"`)) {
			t.Errorf("a refusal is logged as %s", line)
		}
	}
}
