package browser

import (
	"net/http"
	"strings"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/messages"
)

func (p *Pages) signing() []api.Endpoint {
	return []api.Endpoint{
		p.Page(get, SignInPath, p.signInPage), p.Page(post, SignInPath, p.signIn),
		p.Page(post, SignOutPath, p.signOut),
	}
}

// signInForm is what the sign-in page shows.
type signInForm struct {
	Self, Next, User string
	Providers        []Provider
	SignUp           string // where an account is made; empty: nowhere
	Again            bool   // the user is signed in, and must prove to be there
	NoPassword       bool   // nobody has one, or this user has none
	Forgot           string // where who has forgotten it goes; empty: nowhere
}

// With is the way to an identity provider.
func (f signInForm) With(id string) string {
	to := With(WithPath+id, "next", f.Next)
	if f.Again {
		to = With(to, "again", "1")
	}
	return to
}

func (p *Pages) signInPage(v *View) (any, error) {
	return p.showSignIn(v, http.StatusOK, signInForm{Next: Local(v.Param("next")), User: hinted(v.Param("hint")), Again: v.Param("again") != ""}, "")
}

// hinted is who an app says wants to sign in.
func hinted(hint string) string {
	if len(hint) > 255 {
		return ""
	}
	return strings.TrimPrefix(hint, "mxid:")
}

func (p *Pages) showSignIn(v *View, status int, f signInForm, problem string) (any, error) {
	f.Self, f.Providers, f.NoPassword = SignInPath, p.o.Providers, !p.o.Registrar.Passwords()
	if f.NoPassword && len(f.Providers) == 1 && v.Who == nil && v.Form == nil && v.Param("out") == "" { // there is nothing to choose
		return Redirect(f.With(f.Providers[0].ID)), nil
	}
	s := Shown{Title: "Sign in", Error: problem}
	if p.o.Addresses != nil && !f.NoPassword {
		f.Forgot = With(forgotPath, "next", f.Next)
	}
	if f.Again && v.Who != nil {
		f.User, s.Title, f.NoPassword = v.Who.Account.UserID, "Show that it is you", f.NoPassword || v.Who.Account.PasswordHash == ""
	} else {
		f.Again = false
		if p.SignUp() {
			f.SignUp = With(SignUpPath, "next", f.Next)
		}
	}
	s.Data = f
	return p.Render(status, "signin", s)
}

// signIn checks a password.
func (p *Pages) signIn(v *View) (any, error) {
	f := signInForm{Next: Local(v.Form.Get("next")), User: strings.TrimSpace(v.Form.Get("user")), Again: v.Form.Get("again") != ""}
	if f.User == "" {
		return p.showSignIn(v, http.StatusBadRequest, f, "Who are you?")
	}
	// Attempts count for the address, whoever is signed in with this browser.
	before := v.Session
	v.Session = nil
	user, err := p.o.Registrar.ByPassword(v.Request, f.User, v.Form.Get("password"))
	v.Session = before
	if refused := Refusal(err); refused != nil {
		return p.showSignIn(v, refused.Status, f, sentence(refused.Message))
	}
	if err != nil {
		return nil, err
	}
	cookie, err := p.SignIn(v.Request, user.UserID)
	if err != nil {
		return nil, err
	}
	return Redirect(f.Next, cookie), nil
}

// signOut signs this browser out. The apps that it has let in go on.
func (p *Pages) signOut(v *View) (any, error) {
	next := Local(v.Form.Get("next"))
	if v.Who != nil {
		if err := p.o.Registrar.Ask(v.Request, v.Who.Account.UserID, &messages.EndBrowserSession{Hash: v.Who.Hash}); err != nil {
			return nil, err
		}
	}
	return Redirect(With(With(SignInPath, "next", next), "out", "1"), p.Cookie(cookieName, "", -1)), nil
}

// NeedUser sends who has not signed in to do so, and back; nil for who has. Where an account of one's own is wished, it is made.
func (p *Pages) NeedUser(v *View, back string, signUp bool, hint string) any {
	switch {
	case signUp && p.SignUp():
		return Redirect(With(SignUpPath, "next", back))
	case v.Who == nil:
		to := With(SignInPath, "next", back)
		if hint != "" {
			to = With(to, "hint", hint)
		}
		return Redirect(to)
	}
	return nil
}

// NeedFresh is NeedUser for what cannot be undone, or lets others in: the user has proved to be there a short while ago.
func (p *Pages) NeedFresh(v *View, back string) any {
	if v.Who.within(v.Request, fresh) {
		return nil
	}
	return Redirect(With(With(SignInPath, "next", back), "again", "1"))
}
