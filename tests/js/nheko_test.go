//go:build desktop

package js

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/matrixon/matrixon/tests/binary"
)

// desk is a screen that nobody sees, with nheko on it, and its user's hands. Where things are is as in nheko 0.11, of Debian 12.
type desk struct {
	single
	t        *testing.T
	display  string
	pictures string
}

// The settings of nheko: where there is no keyring, no animation, and a window of a known size.
const nhekoSettings = `[General]
run_without_secure_secrets_service=true

[user]
window_tray=false
reduced_motion=true

[window]
height=760
width=1180
`

// newDesk starts the screen and nheko, which end with the test. DESKTOP_PICTURES names a folder for the pictures.
func newDesk(t *testing.T, server *binary.Server) *desk {
	t.Helper()
	if out, err := exec.Command("../../scripts/nheko.sh").CombinedOutput(); err != nil {
		t.Fatalf("nheko.sh: %v: %s", err, out)
	}
	home := t.TempDir()
	d := &desk{single: single{server}, t: t, pictures: os.Getenv("DESKTOP_PICTURES")}
	if d.pictures == "" {
		d.pictures = home
	}
	settings := filepath.Join(home, ".config", "nheko")
	if err := os.MkdirAll(settings, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(settings, "nheko.conf"), []byte(nhekoSettings), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	screen := exec.Command("Xvfb", "-displayfd", "3", "-screen", "0", "1200x800x24", "-nolisten", "tcp")
	screen.ExtraFiles = []*os.File{writer}
	d.launch(screen)
	number := make([]byte, 16)
	n, err := reader.Read(number)
	if err != nil {
		t.Fatal(err)
	}
	d.display = ":" + strings.TrimSpace(string(number[:n]))
	environment := append(os.Environ(), "DISPLAY="+d.display, "HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_CONFIG_HOME=", "XDG_DATA_HOME=", "XDG_CACHE_HOME=",
		"QT_QPA_PLATFORM=xcb", "QT_QUICK_BACKEND=software", "LIBGL_ALWAYS_SOFTWARE=1", "LANG=C.UTF-8")
	for _, program := range [][]string{{"openbox"}, {"dbus-run-session", "--", "nheko"}} {
		c := exec.Command(program[0], program[1:]...) //nolint:gosec // these two
		c.Env = environment
		d.launch(c)
	}
	return d
}

// launch runs a program with all that it starts until the test ends.
func (d *desk) launch(c *exec.Cmd) {
	d.t.Helper()
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
		_ = c.Wait()
	})
}

func (d *desk) run(name string, args ...string) ([]byte, error) {
	c := exec.Command(name, args...)
	c.Env = append(os.Environ(), "DISPLAY="+d.display)
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("%s %v: %w", name, args, err)
	}
	return out, err
}

// still waits until what is on the screen has not changed for a while; a cursor that blinks is let blink.
func (d *desk) still() error {
	const look, most = 700 * time.Millisecond, 20 * time.Second
	seen := map[[32]byte]int{}
	for end := time.Now().Add(most); time.Now().Before(end); time.Sleep(look) {
		picture, err := d.run("import", "-window", "root", "rgb:-")
		if err != nil {
			return err
		}
		if sum := sha256.Sum256(picture); seen[sum] == 2 {
			return nil
		} else {
			seen[sum]++
		}
	}
	return nil
}

// hand is one thing that the user does: a click at a place, keys, or text.
type hand struct {
	x, y int
	keys []string
	text string
}

func (d *desk) hands(hands ...hand) error {
	for _, h := range hands {
		var err error
		switch {
		case h.keys != nil:
			_, err = d.run("xdotool", append([]string{"key"}, h.keys...)...)
		case h.text != "":
			_, err = d.run("xdotool", "type", "--delay", "30", h.text)
		default:
			_, err = d.run("xdotool", "mousemove", strconv.Itoa(h.x), strconv.Itoa(h.y), "click", "1")
		}
		if err == nil {
			err = d.still()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d *desk) do(ask string) error {
	what, rest, _ := strings.Cut(ask, " ")
	switch what {
	case "login":
		return d.hands(hand{x: 681, y: 539}, hand{x: 600, y: 380}, hand{text: "@nina:localhost"}, hand{keys: []string{"Tab"}}, hand{text: password},
			hand{keys: []string{"Tab", "Tab", "ctrl+a"}}, hand{text: d.URL}, hand{keys: []string{"Tab"}}, hand{x: 600, y: 589},
			hand{x: 1037, y: 748}) // which sets encryption up
	case "close":
		return d.hands(hand{x: 1135, y: 440})
	case "open":
		return d.hands(hand{x: 140, y: 102})
	case "accept":
		return d.hands(hand{x: 712, y: 501})
	case "say":
		return d.hands(hand{x: 600, y: 768}, hand{text: rest}, hand{keys: []string{"Return"}})
	case "picture":
		file := filepath.Join(d.pictures, rest+".png")
		d.t.Logf("a picture: %s", file)
		_, err := d.run("import", "-window", "root", file)
		return err
	}
	return d.single.do(ask)
}

// password is that of device.mjs.
const password = "correct horse battery staple"

// TestNheko has somebody chat in a desktop client, encrypted, with somebody whose client is made with the library.
func TestNheko(t *testing.T) {
	install(t)
	server := binary.Start(t, "federation.enabled=false")
	run(t, newDesk(t, server), "nheko.mjs", server.URL)
}
