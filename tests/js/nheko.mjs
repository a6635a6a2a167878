// node nheko.mjs URL: Quinn, with the library, and Nina, with nheko, whose screen and keyboard the Go test has.
import { RelationType } from "matrix-js-sdk";
import { ask, eventually, finish, step, until } from "./harness.mjs";
import { signUp } from "./device.mjs";

const nina = "@nina:localhost";
let quinn, roomId, answer;

// ninaHasRead waits until Nina's client has told that its user has read the event, which it does when the event is on its screen.
const ninaHasRead = (id) => until(`Nina has read ${id}`, () => quinn.room(roomId).getEventReadUpTo(nina) === id);

await step("nheko: logs in and sets encryption up", async () => {
    quinn = await (await signUp("quinn")).start();
    await signUp("nina");
    await ask("login");
    await ask("picture login");
    await eventually("Nina has an identity", () => quinn.crypto.userHasCrossSigningKeys(nina, true));
    await ask("close");
});

await step("nheko: an invite to an encrypted room is accepted", async () => {
    ({ room_id: roomId } = await quinn.client.createRoom({
        preset: "private_chat", name: "the attic", topic: "old things", invite: [nina], room_version: "10",
        initial_state: [{ type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } }],
    }));
    await quinn.in(roomId);
    await ask("open");
    await ask("picture invite");
    await ask("accept");
    await until("Nina has joined", () => quinn.room(roomId).getMember(nina)?.membership === "join");
});

await step("nheko: encrypted messages both ways", async () => {
    await ninaHasRead(await quinn.says(roomId, "is it dusty up there?"));
    await ask("say it is full of boxes");
    answer = await until("Quinn reads the answer", () => quinn.room(roomId).getLiveTimeline().getEvents().find((e) => e.getContent().body === "it is full of boxes"));
    if (answer.getWireType() !== "m.room.encrypted") throw new Error("the answer came in clear");
});

await step("nheko: reactions, edits and replies", async () => {
    await quinn.client.sendEvent(roomId, "m.reaction", { "m.relates_to": { rel_type: RelationType.Annotation, event_id: answer.getId(), key: "👍" } });
    const question = await quinn.says(roomId, "shall I come up?");
    await ninaHasRead(question);
    await quinn.says(roomId, "* shall I come up with a lamp?", {
        "m.new_content": { msgtype: "m.text", body: "shall I come up with a lamp?" },
        "m.relates_to": { rel_type: RelationType.Replace, event_id: question },
    });
    await ninaHasRead(await quinn.says(roomId, "boxes of what?", { "m.relates_to": { "m.in_reply_to": { event_id: answer.getId() } } }));
    await ask("picture chat");
});

await step("nheko: the server is killed and comes back", async () => {
    await ask("kill");
    const id = await eventually("the server takes a message", () => quinn.says(roomId, "that was dark").catch(() => null));
    await ninaHasRead(id);
    await ask("say the light is back");
    await until("Quinn reads the answer", () => quinn.room(roomId).getLiveTimeline().getEvents().some((e) => e.getContent().body === "the light is back"));
    await ask("picture afterwards");
});

quinn.client.stopClient();
finish();
