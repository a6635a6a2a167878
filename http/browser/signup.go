package browser

import (
	"net/http"
	"slices"
	"strings"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

func (p *Pages) signingUp() []api.Endpoint {
	return []api.Endpoint{p.Page(get, SignUpPath, p.signUpPage), p.Page(post, SignUpPath, p.signUp)}
}

// SignUp reports whether people can make accounts here.
func (p *Pages) SignUp() bool {
	rules := p.o.Registrar.Rules()
	return (rules.Open || rules.TokensRequired) && (!rules.EmailRequired || p.o.Addresses != nil)
}

// signUpForm is what the page shows on which accounts are made.
type signUpForm struct {
	Self, Next, SignIn   string
	Name, Token, Email   string
	NeedToken, NeedEmail bool
	Terms                []client.Document
}

func (p *Pages) signUpPage(v *View) (any, error) {
	if err := p.signUpOpen(); err != nil {
		return nil, err
	}
	return p.showSignUp(http.StatusOK, signUpForm{Next: Local(v.Param("next"))}, "")
}

func (p *Pages) signUpOpen() error {
	if !p.SignUp() {
		return mxerr.Forbidden("accounts cannot be made here; ask those who run %s", p.ServerName)
	}
	return nil
}

func (p *Pages) showSignUp(status int, f signUpForm, problem string) (any, error) {
	rules := p.o.Registrar.Rules()
	f.Self, f.SignIn, f.Terms = SignUpPath, With(SignInPath, "next", f.Next), rules.Documents
	f.NeedToken, f.NeedEmail = rules.TokensRequired, rules.EmailRequired
	return p.Render(status, "signup", Shown{Title: "Make an account", Error: problem, Data: f})
}

// signUp makes an account.
func (p *Pages) signUp(v *View) (any, error) {
	if err := p.signUpOpen(); err != nil {
		return nil, err
	}
	v.Session = nil // whoever is signed in with this browser, attempts count for the address
	if err := v.Take(api.LimitRegister); err != nil {
		return nil, err
	}
	rules := p.o.Registrar.Rules()
	f := signUpForm{Next: Local(v.Form.Get("next")), Name: strings.TrimSpace(v.Form.Get("name")), Token: strings.TrimSpace(v.Form.Get("token")),
		Email: strings.TrimSpace(v.Form.Get("email"))}
	userID, err := p.o.Registrar.Free(v.Request, f.Name)
	switch {
	case err != nil:
	case v.Form.Get("password") != v.Form.Get("again"):
		err = mxerr.InvalidParam("the two passwords are not the same")
	case rules.TokensRequired && f.Token == "":
		err = mxerr.MissingParam("a registration token is needed")
	case len(rules.Documents) > 0 && v.Form.Get("agree") == "":
		err = mxerr.InvalidParam("an account can only be made when you agree to the terms")
	}
	var hash string
	if err == nil {
		hash, err = p.o.Registrar.Hash(v.Request, v.Form.Get("password"))
	}
	if err == nil && rules.EmailRequired {
		return p.confirmFirst(v, f, hash)
	}
	if err == nil {
		m := &messages.RegisterAccount{PasswordHash: hash}
		if rules.TokensRequired {
			m.RegistrationToken = f.Token
		}
		err = p.o.Registrar.Ask(v.Request, userID, m)
	}
	if refused := Refusal(err); refused != nil {
		return p.showSignUp(refused.Status, f, sentence(refused.Message))
	}
	if err != nil {
		return nil, err
	}
	cookie, err := p.SignIn(v.Request, userID)
	if err != nil {
		return nil, err
	}
	return Redirect(f.Next, cookie), nil
}

// AskName shows the page on which somebody who is new here chooses a user name, when nothing tells it. carried goes with the form.
func (p *Pages) AskName(status int, action, carried, name, provider, problem string) (any, error) {
	rules := p.o.Registrar.Rules()
	return p.Render(status, "username", Shown{Title: "Choose a user name", Error: problem, Data: struct {
		Action, Carried, Name, Provider string
		Terms                           []client.Document
	}{action, carried, name, provider, slices.Clone(rules.Documents)}})
}
