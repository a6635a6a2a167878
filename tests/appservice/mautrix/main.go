// Command mautrix is a bridge made with the library of the mautrix bridges, and a person who chats with it, encrypted, by the same library. The
// test beside it gives it a homeserver and a registration, and does with the homeserver what it asks for.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/appservice"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

const patience = 60 * time.Second

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := run(ctx, os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("finished")
}

// run is what happens, between a person on the homeserver and a bridge that listens on the port.
func run(ctx context.Context, homeserver, registration, port string) error {
	b, err := newBridge(ctx, homeserver, registration, port)
	if err != nil {
		return fmt.Errorf("the bridge: %w", err)
	}
	p, err := newPerson(ctx, homeserver)
	if err != nil {
		return fmt.Errorf("the person: %w", err)
	}
	ghost := b.as.Intent(id.NewUserID("_mautrix_ghost", b.as.HomeserverDomain))
	if err := ghost.EnsureRegistered(ctx); err != nil {
		return err
	}
	avatar := id.MustParseContentURI("mxc://localhost/picture")
	if err := errors.Join(ghost.SetDisplayName(ctx, "The ghost"), ghost.SetAvatarURL(ctx, avatar)); err != nil {
		return err
	}
	room, err := p.client.CreateRoom(ctx, &mautrix.ReqCreateRoom{Preset: "private_chat", Invite: []id.UserID{b.as.BotMXID(), ghost.UserID}, InitialState: []*event.Event{{
		Type: event.StateEncryption, Content: event.Content{Parsed: &event.EncryptionEventContent{Algorithm: id.AlgorithmMegolmV1}}}}})
	if err != nil {
		return err
	}
	for _, intent := range []*appservice.IntentAPI{b.as.BotIntent(), ghost} {
		if err := intent.EnsureJoined(ctx, room.RoomID, appservice.EnsureJoinedParams{IgnoreCache: true}); err != nil {
			return err
		}
	}
	chat := func(round string) error {
		if err := p.until("the bridge is in the room", func() bool { return p.client.StateStore.IsInRoom(ctx, room.RoomID, b.as.BotMXID()) }); err != nil {
			return err
		}
		if err := say(ctx, p.client, p.machine, room.RoomID, "from the person "+round); err != nil {
			return err
		}
		if err := expect(b.heard, "from the person "+round); err != nil {
			return fmt.Errorf("the bridge: %w", err)
		}
		if err := say(ctx, b.as.BotClient(), b.machine, room.RoomID, "from the bridge "+round); err != nil {
			return err
		}
		if err := expect(p.heard, "from the bridge "+round); err != nil {
			return fmt.Errorf("the person: %w", err)
		}
		// What has come from elsewhere keeps the time of when it was said.
		sent, err := ghost.SendMessageEvent(ctx, room.RoomID, event.EventMessage, &event.MessageEventContent{MsgType: event.MsgText, Body: "long ago"},
			mautrix.ReqSendEvent{Timestamp: 1234567890123})
		if err != nil {
			return err
		}
		if e, err := p.client.GetEvent(ctx, room.RoomID, sent.EventID); err != nil || e.Timestamp != 1234567890123 || e.Sender != ghost.UserID {
			return fmt.Errorf("a message of the ghost: %v, %w", e, err)
		}
		return nil
	}
	if err := chat("at first"); err != nil {
		return err
	}
	fmt.Println("kill")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	return chat("afterwards")
}

// bridge is an application service with a device of its own.
type bridge struct {
	as      *appservice.AppService
	machine *crypto.OlmMachine
	heard   chan string
}

func newBridge(ctx context.Context, homeserver, file, port string) (*bridge, error) {
	registration, err := appservice.LoadRegistration(file)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	store := mautrix.NewMemoryStateStore()
	as, err := appservice.CreateFull(appservice.CreateOpts{Registration: registration, HomeserverDomain: "localhost", HomeserverURL: homeserver,
		HostConfig: appservice.HostConfig{Hostname: "127.0.0.1", Port: uint16(n)}, StateStore: store.(appservice.StateStore)})
	if err != nil {
		return nil, err
	}
	b := &bridge{as: as, heard: make(chan string, 16)}
	go as.Start()
	bot := as.BotIntent()
	if err := bot.EnsureRegistered(ctx); err != nil {
		return nil, err
	}
	ping, err := bot.AppservicePing(ctx, registration.ID, "meow")
	for ; err != nil; ping, err = bot.AppservicePing(ctx, registration.ID, "meow") { // it does not listen yet
		if ctx.Err() != nil {
			return nil, err
		}
	}
	fmt.Println("the homeserver reaches the bridge in", ping.DurationMS, "ms")
	if err := bot.CreateDeviceMSC4190(ctx, "BRIDGE", "A bridge"); err != nil {
		return nil, err
	}
	b.machine = crypto.NewOlmMachine(bot.Client, nil, crypto.NewMemoryStore(nil), store.(crypto.StateStore))
	if err := errors.Join(b.machine.Load(ctx), b.machine.ShareKeys(ctx, -1)); err != nil {
		return nil, err
	}
	events := appservice.NewEventProcessor(as)
	b.machine.AddAppserviceListener(events)
	events.On(event.StateMember, b.machine.HandleMemberEvent)
	events.On(event.EventEncrypted, func(ctx context.Context, e *event.Event) {
		if e.Sender != as.BotMXID() {
			listen(ctx, b.machine, e, b.heard)
		}
	})
	events.Start(context.Background())
	return b, nil
}

// impatient syncs again soon after the server was away.
type impatient struct{ *mautrix.DefaultSyncer }

func (impatient) OnFailedSync(*mautrix.RespSync, error) (time.Duration, error) {
	return 100 * time.Millisecond, nil
}

// person is somebody with a client.
type person struct {
	client  *mautrix.Client
	machine *crypto.OlmMachine
	heard   chan string
	changed chan struct{} // gets something after a sync
}

func newPerson(ctx context.Context, homeserver string) (*person, error) {
	client, err := mautrix.NewClient(homeserver, "", "")
	if err != nil {
		return nil, err
	}
	made, err := client.RegisterDummy(ctx, &mautrix.ReqRegister[any]{Username: "alice", Password: "a password"})
	if err != nil {
		return nil, err
	}
	client.UserID, client.DeviceID, client.AccessToken = made.UserID, made.DeviceID, made.AccessToken
	store := mautrix.NewMemoryStateStore()
	client.StateStore = store
	p := &person{client: client, heard: make(chan string, 16), changed: make(chan struct{}, 1)}
	p.machine = crypto.NewOlmMachine(client, nil, crypto.NewMemoryStore(nil), store.(crypto.StateStore))
	if err := errors.Join(p.machine.Load(ctx), p.machine.ShareKeys(ctx, -1)); err != nil {
		return nil, err
	}
	syncer := impatient{mautrix.NewDefaultSyncer()}
	client.Syncer = syncer
	syncer.OnSync(p.machine.ProcessSyncResponse)
	syncer.OnEvent(client.StateStoreSyncHandler)
	syncer.OnEventType(event.StateMember, p.machine.HandleMemberEvent)
	syncer.OnEventType(event.EventEncrypted, func(ctx context.Context, e *event.Event) {
		if e.Sender != client.UserID {
			listen(ctx, p.machine, e, p.heard)
		}
	})
	syncer.OnSync(func(context.Context, *mautrix.RespSync, string) bool {
		select {
		case p.changed <- struct{}{}:
		default:
		}
		return true
	})
	go func() {
		for ctx.Err() == nil {
			if err := client.SyncWithContext(ctx); err != nil && ctx.Err() == nil {
				fmt.Println("syncing ended:", err)
			}
		}
	}()
	return p, nil
}

func (p *person) until(what string, is func() bool) error {
	late := time.After(patience)
	for !is() {
		select {
		case <-p.changed:
		case <-time.After(100 * time.Millisecond): // what the last sync brought may still be on its way to the store
		case <-late:
			return fmt.Errorf("not within %v: %s", patience, what)
		}
	}
	return nil
}

// listen decrypts a message; its keys may come after it.
func listen(ctx context.Context, m *crypto.OlmMachine, e *event.Event, heard chan<- string) {
	decrypted, err := m.DecryptMegolmEvent(ctx, e)
	if errors.Is(err, crypto.ErrNoSessionFound) {
		content := e.Content.AsEncrypted()
		m.WaitForSession(ctx, e.RoomID, content.SenderKey, content.SessionID, patience)
		decrypted, err = m.DecryptMegolmEvent(ctx, e)
	}
	if err != nil {
		heard <- "not decrypted: " + err.Error()
		return
	}
	heard <- decrypted.Content.AsMessage().Body
}

// say sends a message, encrypted for all members.
func say(ctx context.Context, c *mautrix.Client, m *crypto.OlmMachine, room id.RoomID, text string) error {
	content := &event.MessageEventContent{MsgType: event.MsgText, Body: text}
	encrypted, err := m.EncryptMegolmEvent(ctx, room, event.EventMessage, content)
	if crypto.IsShareError(err) {
		members, err := c.JoinedMembers(ctx, room)
		if err != nil {
			return err
		}
		var users []id.UserID
		for user := range members.Joined {
			users = append(users, user)
		}
		if err := m.ShareGroupSession(ctx, room, users); err != nil {
			return err
		}
		if encrypted, err = m.EncryptMegolmEvent(ctx, room, event.EventMessage, content); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	_, err = c.SendMessageEvent(ctx, room, event.EventEncrypted, encrypted)
	return err
}

func expect(heard <-chan string, text string) error {
	select {
	case got := <-heard:
		if got != text {
			return fmt.Errorf("%q was heard instead of %q", got, text)
		}
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%q was not heard within %v", text, patience)
	}
}
