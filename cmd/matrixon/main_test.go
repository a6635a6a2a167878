package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
)

// call runs the program and returns what it printed and its exit code.
func call(t *testing.T, environ []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), &Main{Stdout: &out, Stderr: &errs, Environ: environ}, args)
	return out.String(), errs.String(), code
}

// expect is call for what must succeed without a word on standard error.
func expect(t *testing.T, environ []string, args ...string) string {
	t.Helper()
	stdout, stderr, code := call(t, environ, args...)
	if code != 0 || stderr != "" {
		t.Fatalf("matrixon %s: exit code %d, %s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if got := expect(t, nil, "version"); !strings.HasPrefix(got, "matrixon ") || strings.Count(got, "\n") != 1 {
		t.Errorf("printed %q", got)
	}
}

func TestBuildString(t *testing.T) {
	t.Parallel()
	b := build{Version: "1.2.3", Commit: "abc", Go: "go1.26", Platform: "linux/amd64"}
	if got, want := b.String(), "matrixon 1.2.3 (commit abc, go1.26, linux/amd64)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	b.Commit = ""
	if got, want := b.String(), "matrixon 1.2.3 (go1.26, linux/amd64)"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--help"}, {"config", "--help"}, {"config", "show", "--help"}} {
		if got := expect(t, nil, args...); !strings.Contains(got, "Usage: matrixon") {
			t.Errorf("%v printed %q", args, got)
		}
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{}, {"confg"}, {"config", "show", "--nope"}, {"config"}} {
		_, stderr, code := call(t, nil, args...)
		if code != exitUsage || !strings.Contains(stderr, "matrixon: ") {
			t.Errorf("%v: exit code %d, %q", args, code, stderr)
		}
	}
}

func TestConfigInit(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "m.yaml")
	expect(t, nil, "config", "init", file, "--server-name", "example.org")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if got := expect(t, nil, "config", "show", "--config", file); !strings.HasPrefix(got, "server_name: example.org\n") {
		t.Errorf("shows %s", got)
	}
	if _, stderr, code := call(t, nil, "config", "init", file); code != exitFailed || !strings.Contains(stderr, "--force") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
	expect(t, nil, "config", "init", file, "--force")
	if text, err := os.ReadFile(file); err != nil || string(text) != config.Commented {
		t.Errorf("%v, %s", err, text)
	}
	if got := expect(t, nil, "config", "init", "-"); got != config.Commented {
		t.Errorf("printed %s", got)
	}
	if _, stderr, code := call(t, nil, "config", "init", "-", "--server-name", "a b"); code != exitFailed || !strings.Contains(stderr, "not a server name") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestConfigShow(t *testing.T) {
	t.Parallel()
	got := expect(t, []string{"MATRIXON_CLUSTER__NODE=a", "MATRIXON_CLUSTER__SECRET=hunter2"},
		"config", "show", "--set", "listeners.0.serves=client,media", "--set", "data_dir=/srv/a,b")
	for _, want := range []string{"node: a\n", "data_dir: /srv/a,b\n", "- client\n", "secret: \"********\"\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %s", want, got)
		}
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "m.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("server_name: example.org\n")
	environ := []string{"MATRIXON_CONFIG=" + file}
	if got, want := expect(t, environ, "config", "check"), file+": no problems\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	write("server_nam: a\nlogging: {level: loud}\n")
	_, stderr, code := call(t, environ, "config", "check")
	want := file + ":1:1: server_nam: unknown key; did you mean \"server_name\"?\n" +
		file + ":2:18: logging.level: \"loud\" is none of \"debug\", \"info\", \"warn\", \"error\"\n"
	if code != exitFailed || stderr != want {
		t.Errorf("exit code %d, printed\n%swant\n%s", code, stderr, want)
	}
	if _, stderr, code = call(t, nil, "config", "check", "--config", filepath.Join(dir, "none.yaml")); code != exitFailed || !strings.Contains(stderr, "none.yaml") {
		t.Errorf("exit code %d, printed %q", code, stderr)
	}
}

func TestConfigCheckReadsFiles(t *testing.T) {
	t.Parallel()
	notPEM := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := call(t, nil, "config", "check",
		"--set", "listeners.0.tls={certificate: none.crt, key: none.key}", "--set", "federation.ca_file="+notPEM,
		"--set", "appservices=none", "--set", "cluster.tls={ca: none, certificate: none, key: none}")
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	for _, want := range []string{"listeners.0.tls: ", "federation.ca_file: " + notPEM + " has no PEM", "appservices.0: ", "cluster.tls.ca: ", "cluster.tls: "} {
		if !strings.Contains(stderr, want) {
			t.Errorf("%q is not in\n%s", want, stderr)
		}
	}
}
