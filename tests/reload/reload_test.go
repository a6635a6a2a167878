// Package reload tests that a running server takes another configuration: all of it that can change, or nothing.
package reload

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matrixon/matrixon/tests/binary"
	"github.com/matrixon/matrixon/tests/matrixclient"
)

func TestReload(t *testing.T) {
	t.Parallel()
	s := binary.Start(t)
	file := filepath.Join(filepath.Dir(s.DataDir()), "matrixon.yaml")
	anybody := &matrixclient.Client{URL: s.URL, HTTP: http.DefaultClient}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	// hangUp writes the file, tells the server, and waits until it has said this.
	hangUp := func(text, said string) {
		t.Helper()
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
