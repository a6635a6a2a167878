package console

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is a page in a headless Chromium.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // it is the tab, in chromedp's terms

	mu         sync.Mutex
	complaints []string
}

// newTab starts a browser that ends with the test.
func newTab(t *testing.T) *tab {
	t.Helper()
	program, err := exec.Command("../../scripts/chromium.sh").Output()
	if err != nil {
		t.Fatal(err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(strings.TrimSpace(string(program))), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 860), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-background-networking", true), chromedp.WSURLReadTimeout(time.Minute))
	allocated, stop := chromedp.NewExecAllocator(context.Background(), options...)
	b := &tab{t: t}
	ctx, cancel := chromedp.NewContext(allocated, chromedp.WithErrorf(func(format string, args ...any) {
		if !strings.HasPrefix(format, "unhandled node event") { // those that came after this version of chromedp, such as dialogs
			b.complain(fmt.Sprintf(format, args...))
		}
	}))
	t.Cleanup(func() {
		cancel()
		stop()
	})
	b.ctx = ctx
	chromedp.ListenTarget(ctx, func(event any) {
		switch e := event.(type) {
		case *log.EventEntryAdded:
			if e.Entry.Level == log.LevelError && e.Entry.Source != log.SourceNetwork { // the network's are the statuses of answers
				b.complain(e.Entry.Text)
			}
		case *runtime.EventExceptionThrown:
			b.complain(e.ExceptionDetails.Error())
		}
	})
	remember := chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(rememberNotices).Do(ctx)
		return err
	})
	if err := chromedp.Run(ctx, log.Enable(), remember); err != nil { // the browser lives as long as the context it was started with
		t.Fatal(err)
	}
	return b
}

func (b *tab) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.complaints = append(b.complaints, text)
}

// quiet fails the test if the browser has refused something or a script failed.
func (b *tab) quiet() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, text := range b.complaints {
		b.t.Errorf("the browser: %s", text)
	}
}

func (b *tab) do(what string, actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 40*time.Second)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		var html, address, done string
		after, cancel := context.WithTimeout(b.ctx, 10*time.Second)
		defer cancel()
		_ = chromedp.Run(after, chromedp.Location(&address), chromedp.OuterHTML("body", &html), chromedp.Evaluate(`done.join("\n")`, &done)) // the first error is the one that counts
		b.picture("failed")
		b.t.Fatalf("%s: %v\n%s\nwhat was done on the page:\n%s\n%.4000s", what, err, address, done, html)
	}
}

// text waits until an element has the text, in whatever page comes.
func text(css, wanted string) chromedp.Action {
	return script(fmt.Sprintf(`[...document.querySelectorAll(%q)].some(e => e.textContent.includes(%q))`, css, wanted))
}

// rememberNotices keeps what a page has told, since notices go by themselves, and what was done on it, for whoever looks for a failure.
const rememberNotices = `window.told = []
window.done = []
addEventListener("click", e => done.push("click on " + e.target.outerHTML.slice(0, 80) + " at " + e.clientX + "," + e.clientY), true)
addEventListener("close", e => done.push("closed with " + e.target.returnValue), true)
addEventListener("htmx:confirm", e => { if (e.detail.question) done.push("asked: " + e.detail.question) }, true)
addEventListener("htmx:afterRequest", e => { if (e.detail.requestConfig.verb !== "get") done.push(e.detail.pathInfo.requestPath + ": " + e.detail.xhr.status + " " + e.detail.xhr.response) }, true)
new MutationObserver(changes => {
  for (const change of changes)
    for (const e of change.addedNodes)
      if (e.nodeType === Node.ELEMENT_NODE && (e.matches(".notice") || e.querySelector(".notice"))) told.push(e.textContent)
}).observe(document, { childList: true, subtree: true })`

// told waits until the page has given notice of something, whether or not the notice is still there.
func told(wanted string) chromedp.Action {
	return script(fmt.Sprintf(`told.some(text => text.includes(%q))`, wanted))
}

// script waits until an expression is true. A page that is being left cannot be asked; the next one can.
func script(js string) chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		for {
			var is bool
			if err := chromedp.Evaluate(js, &is).Do(ctx); err == nil && is {
				return nil
			}
			select {
			case <-time.After(30 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("never true: %s: %w", js, ctx.Err())
			}
		}
	})
}

// confirm clicks a button and agrees to what it asks.
func confirm(css string) chromedp.Action {
	return chromedp.Tasks{chromedp.Click(css, chromedp.ByQuery), chromedp.WaitVisible("#confirm", chromedp.ByQuery), chromedp.Click("#yes", chromedp.ByQuery), chromedp.WaitNotVisible("#confirm", chromedp.ByQuery)}
}

// picture keeps pictures for whoever wants to look, in the folder CONSOLE_SHOTS: light, dark, and of a narrow screen.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("CONSOLE_SHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, 40*time.Second)
	defer cancel()
	for _, look := range []struct {
		name, scheme string
		width        int64
	}{{"", "light", 1280}, {"-dark", "dark", 1280}, {"-narrow", "light", 390}} {
		var png []byte
		features := []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: look.scheme}}
		if err := chromedp.Run(ctx, emulation.SetEmulatedMedia().WithFeatures(features), chromedp.EmulateViewport(look.width, 860), chromedp.FullScreenshot(&png, 100)); err != nil {
			b.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+look.name+".png"), png, 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	if err := chromedp.Run(ctx, emulation.SetEmulatedMedia(), chromedp.EmulateReset()); err != nil {
		b.t.Fatal(err)
	}
}
