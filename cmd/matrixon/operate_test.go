package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// operate runs the program with a data folder, and gives what it printed and its exit code.
func operate(t *testing.T, dir, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	m := &Main{Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr, Environ: []string{
		"MATRIXON_DATA_DIR=" + dir, "MATRIXON_PASSWORD_HASH__MEMORY_KIB=64", "MATRIXON_PASSWORD_HASH__ITERATIONS=1",
		"MATRIXON_LISTENERS=[{address: '127.0.0.1:0', serves: [client]}]"}}
	code = run(context.Background(), m, args)
	return code, stdout.String(), stderr.String()
}

func TestAccountsWhileTheServerIsStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if code, out, errs := operate(t, dir, "secret\n", "user", "create", "ann", "--admin"); code != 0 || out != "@ann:localhost  admin\n" {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if code, _, errs := operate(t, dir, "secret\n", "user", "create", "ann"); code != exitFailed || !strings.Contains(errs, "already taken") {
		t.Errorf("a name that is taken: exit %d: %s", code, errs)
	}
	if code, out, _ := operate(t, dir, "", "user", "create", "bob", "--generate"); code != 0 || !strings.HasPrefix(out, "@bob:localhost\npassword: ") {
		t.Errorf("a generated password: exit %d: %s", code, out)
	}
	if code, out, errs := operate(t, dir, "", "user", "create", "bob", "--generate"); code != exitFailed || out != "" || errs != "matrixon: this user name is already taken\n" {
		t.Errorf("a password for nobody: exit %d: %s%s", code, out, errs)
	}
	if code, _, errs := operate(t, dir, "\n", "user", "create", "carl"); code != exitFailed || !strings.Contains(errs, "--generate") {
		t.Errorf("no password: exit %d: %s", code, errs)
	}
	for _, args := range [][]string{{"user", "admin", "ann", "--revoke"}, {"user", "lock", "bob"}, {"user", "password", "bob", "--generate"}} {
		if code, out, errs := operate(t, dir, "", args...); code != 0 {
			t.Errorf("%v: exit %d: %s%s", args, code, out, errs)
		}
	}
	if _, out, _ := operate(t, dir, "", "user", "list"); out != "@ann:localhost\n@bob:localhost  locked\n" {
		t.Errorf("the list reads:\n%s", out)
	}
	if _, out, _ := operate(t, dir, "", "user", "list", "--json", "--match", "BOB"); !strings.HasPrefix(out, `{"user_id":"@bob:localhost","created_ts":`) || strings.Count(out, "\n") != 1 {
		t.Errorf("as JSON it reads:\n%s", out)
	}
	if code, _, errs := operate(t, dir, "", "user", "logout", "bob"); code != exitFailed || !strings.Contains(errs, "--all") {
		t.Errorf("logging nothing out: exit %d: %s", code, errs)
	}
	if code, out, errs := operate(t, dir, "", "user", "logout", "bob", "--all"); code != 0 || out != "0 devices are left\n" {
		t.Errorf("logging all out: exit %d: %s%s", code, out, errs)
	}
	if code, out, errs := operate(t, dir, "", "tokens", "create", "letmein", "--uses", "2", "--for", "1h"); code != 0 || out != "letmein\n" {
		t.Errorf("a registration token: exit %d: %s%s", code, out, errs)
	}
	if _, out, errs := operate(t, dir, "", "tokens", "list"); !strings.Contains(out, "letmein  0              2   2") || !strings.Contains(out, "  good\n") {
		t.Errorf("the registration tokens read:\n%s%s", out, errs)
	}
	if code, _, errs := operate(t, dir, "", "tokens", "delete", "other"); code != exitFailed || !strings.Contains(errs, "no such") {
		t.Errorf("a token that is not there: exit %d: %s", code, errs)
	}
	for _, what := range []string{"rooms", "reports"} {
		if code, out, errs := operate(t, dir, "", what, "list"); code != 0 || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: exit %d: %s%s", what, code, out, errs)
		}
	}
	if code, _, errs := operate(t, dir, "", "actors", "list"); code != exitFailed || !strings.Contains(errs, errNotRunning.Error()) {
		t.Errorf("actors of a stopped server: exit %d: %s", code, errs)
	}
}

// While the server runs, the commands reach it through its socket.
func TestOperatingARunningServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	log := &watched{found: make(chan struct{}), text: "listening"}
	go func() {
		ended <- run(ctx, &Main{Stdin: strings.NewReader(""), Stdout: log, Stderr: log, Environ: []string{"MATRIXON_DATA_DIR=" + dir,
			"MATRIXON_PASSWORD_HASH__MEMORY_KIB=64", "MATRIXON_LISTENERS=[{address: '127.0.0.1:0', serves: [client]}]"}}, []string{"serve"})
	}()
	<-log.found
	if code, out, errs := operate(t, dir, "secret\n", "user", "create", "ann"); code != 0 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"user", "notify", "hello", "ann"}, "1 users are told"},
		{[]string{"user", "notify", "hello", "--all"}, "1 users are told"},
		{[]string{"user", "export", "ann"}, `{"kind":"end"}`},
		{[]string{"rooms", "list", "--match", "server notices"}, "Server notices"},
		{[]string{"user", "redact", "@_server:localhost"}, "2 messages are redacted"},
		{[]string{"actors", "list", "--kind", "user"}, "@ann:localhost"},
		{[]string{"actors", "inspect", "@ann:localhost"}, "waiting_syncs"},
		{[]string{"actors", "stop", "@ann:localhost"}, "stopped"},
		{[]string{"cluster", "status"}, "local"},
	} {
		if code, out, errs := operate(t, dir, "", c.args...); code != 0 || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit %d: %s%s", c.args, code, out, errs)
		}
	}
	if code, _, errs := operate(t, dir, "", "actors", "inspect", "@ann:localhost"); code != exitFailed || !strings.Contains(errs, "not active") {
		t.Errorf("an actor at rest: exit %d: %s", code, errs)
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("the server ended with %d:\n%s", code, log.all.String())
	}
}

// watched is a log that tells when a text stands in it.
type watched struct {
	text  string
	found chan struct{}

	mu   sync.Mutex
	once bool
	all  bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all.Write(p)
	if !w.once && bytes.Contains(w.all.Bytes(), []byte(w.text)) {
		w.once = true
		close(w.found)
	}
	return len(p), nil
}

func TestABackup(t *testing.T) {
	t.Parallel()
	dir, target := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	if code, _, errs := operate(t, dir, "secret\n", "user", "create", "ann"); code != 0 {
		t.Fatal(errs)
	}
	file := filepath.Join("media", "aa", "bb", "aabbcc")
	if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700), os.WriteFile(filepath.Join(dir, file), []byte("picture"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := operate(t, dir, "", "db", "backup", target); code != 0 || !strings.Contains(out, "everything up to position") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if code, _, errs := operate(t, dir, "", "db", "backup", target); code != exitFailed || !strings.Contains(errs, "new folder") {
		t.Errorf("over another backup: exit %d: %s", code, errs)
	}
	if code, out, errs := operate(t, dir, "", "db", "verify", target); code != 0 || !strings.Contains(out, "whole") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if code, _, errs := operate(t, dir, "", "db", "verify", t.TempDir()); code != exitFailed || !strings.Contains(errs, "not the data") {
		t.Errorf("a folder with nothing: exit %d: %s", code, errs)
	}
	if code, _, errs := operate(t, dir, "secret\n", "user", "create", "bob"); code != 0 {
		t.Fatal(errs)
	}
	if _, out, errs := operate(t, target, "", "user", "list"); out != "@ann:localhost\n" {
		t.Errorf("the backup has:\n%s%s", out, errs)
	}
	if content, err := os.ReadFile(filepath.Join(target, file)); err != nil || string(content) != "picture" {
		t.Errorf("%s %v", content, err)
	}
	if same, err := os.ReadFile(filepath.Join(target, "signing.key")); err != nil || len(same) == 0 {
		t.Errorf("the key: %v", err)
	}
}

func TestTheSigningKeyIsReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	list := func(args ...string) []string {
		t.Helper()
		code, out, errs := operate(t, dir, "", append([]string{"keys"}, args...)...)
		if code != 0 {
			t.Fatalf("%v: exit %d: %s", args, code, errs)
		}
		return strings.Split(strings.TrimSpace(out), "\n")[1:]
	}
	first := list("list")
	if len(first) != 1 || !strings.HasPrefix(first[0], "ed25519:a_") || !strings.HasSuffix(first[0], "  signs") {
		t.Fatal(first)
	}
	id, _, _ := strings.Cut(first[0], " ")
	rotated := list("rotate", "--grace", "1h")
	if len(rotated) != 2 || !strings.HasSuffix(rotated[0], "signs from the next start") || !strings.HasSuffix(rotated[1], "signs until the next start") || !strings.HasPrefix(rotated[1], id+" ") {
		t.Error(rotated)
	}
	second := list("list")
	if len(second) != 2 || !strings.HasSuffix(second[0], "  signs") || !strings.HasSuffix(second[1], "  old") || strings.HasPrefix(second[0], id+" ") {
		t.Error(second)
	}
	if list("rotate", "--grace", "0s"); len(list("list")) != 3 {
		t.Error("a key is forgotten")
	}
	if code, _, errs := operate(t, dir, "", "keys", "rotate", "--grace", "10000h"); code != exitFailed || !strings.Contains(errs, "grace_ms") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
