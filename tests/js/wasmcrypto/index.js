// What matrix-bot-sdk asks of @matrix-org/matrix-sdk-crypto-nodejs, with the WebAssembly build of the same library. Keys are kept in memory.
const wasm = require("@matrix-org/matrix-sdk-crypto-wasm");

const toDevice = wasm.RequestType.ToDevice;

// Lists of users are taken from their caller for good, who uses them twice.
const copies = (users) => users.map((u) => new wasm.UserId(u.toString()));

class OlmMachine {
    static async initialize(userId, deviceId) {
        await wasm.initAsync();
        return new OlmMachine(await wasm.OlmMachine.initialize(userId, deviceId));
    }

    constructor(machine) {
        this.machine = machine;
    }

    get identityKeys() {
        return this.machine.identityKeys;
    }

    async outgoingRequests() {
        const requests = await this.machine.outgoingRequests();
        return requests.map((r) => ({ id: r.id, type: r.type, body: r.type === toDevice ? JSON.stringify(messageOf(r)) : r.body }));
    }

    markRequestAsSent(id, type, response) {
        return this.machine.markRequestAsSent(id, type, response);
    }

    updateTrackedUsers(users) {
        return this.machine.updateTrackedUsers(copies(users));
    }

    getMissingSessions(users) {
        return this.machine.getMissingSessions(copies(users));
    }

    async shareRoomKey(roomId, users, settings) {
        return JSON.stringify((await this.machine.shareRoomKey(roomId, copies(users), settings)).map(messageOf));
    }

    receiveSyncChanges(events, deviceLists, counts, unusedFallbackKeys) {
        return this.machine.receiveSyncChanges(events, deviceLists, new Map(Object.entries(counts)), new Set(unusedFallbackKeys));
    }

    encryptRoomEvent(roomId, type, content) {
        return this.machine.encryptRoomEvent(roomId, type, content);
    }

    decryptRoomEvent(event, roomId) {
        return this.machine.decryptRoomEvent(event, roomId, new wasm.DecryptionSettings(wasm.TrustRequirement.Untrusted));
    }
}

function messageOf(request) {
    return { txn_id: request.txn_id, event_type: request.event_type, messages: JSON.parse(request.body).messages };
}

module.exports = { ...wasm, OlmMachine };
