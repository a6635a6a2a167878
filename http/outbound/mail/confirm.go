package mail

import "context"

// Confirmation asks whoever has an address to say so.
type Confirmation struct {
	Reason Reason
	UserID string // whose account it is about; empty when there is none yet
	Link   string
	Hours  int // how long the link is good
}

// Reason is why an address is to be confirmed.
type Reason string

// The reasons.
const (
	Register Reason = "register" // an account is being made
	Add      Reason = "add"      // the address is to belong to an account
	Password Reason = "password" // the password is to be set anew
)

// confirmation is what the template shows.
type confirmation struct {
	Confirmation
	Server, Heading, Text, Button string
}

// Confirm asks for the confirmation of an address.
func (m *Mailer) Confirm(ctx context.Context, to string, c Confirmation) error {
	shown := confirmation{Confirmation: c, Server: m.o.ServerName, Heading: "Confirm your email address", Button: "Confirm"}
	switch c.Reason {
	case Register:
		shown.Text = "Somebody, you we hope, is making an account on " + m.o.ServerName + " with this address."
	case Add:
		shown.Text = "Somebody, you we hope, wants this address to belong to an account on " + m.o.ServerName + "."
	case Password:
		shown.Heading, shown.Button = "Set a new password", "Go on"
		shown.Text = "Somebody, you we hope, has forgotten the password of " + c.UserID + " and wants to set a new one."
	}
	return m.send(ctx, to, shown.Heading+" for "+m.o.ServerName, "confirm", shown)
}
