package appservice

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A bridge made with the library of the mautrix bridges chats with somebody in an encrypted room, before and after the server is killed.
func TestMautrix(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "mautrix")
	// goolm is the library's encryption in Go, without which it needs one in C.
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-C", "mautrix", "-tags", "goolm", "-o", program, ".").CombinedOutput(); err != nil { //nolint:gosec // no user has a say
		t.Fatalf("%v: %s", err, out)
	}
	port := freePort(t)
	folder := t.TempDir()
	b := &bridge{t: t, id: "mautrix", asToken: "as_mautrix_secret", hsToken: "hs_mautrix_secret", url: "http://127.0.0.1:" + port}
	b.register(folder, b.ghosts(), "receive_ephemeral: true", "org.matrix.msc3202: true", "io.element.msc4190: true")
	w := begin(t, folder)
	command := exec.CommandContext(w.ctx, program, w.url, filepath.Join(folder, "mautrix.yaml"), port) //nolint:gosec // the program that was just built
	in := ok[io.WriteCloser](t)(command.StdinPipe())
	out := ok[io.ReadCloser](t)(command.StdoutPipe())
	command.WaitDelay = time.Second
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if lines.Text() == "kill" {
			w.server.Kill()
			w.server.Run()
			if _, err := fmt.Fprintln(in, "done"); err != nil {
				t.Error(err)
			}
		}
	}
	if err := command.Wait(); err != nil || last(said) != "finished" {
		t.Errorf("%v:\n%s\nthe server:\n%s", err, strings.Join(said, "\n"), w.server.Log())
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l := ok[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0"))
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
