// End-to-end encryption between two people with two devices each.
import { again, ask, check, equal, eventually, step, until } from "./harness.mjs";
import { cluster, logIn, signUp } from "./device.mjs";

export const megolm = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };

export async function encryption() {
    const people = { keys: new Map() }; // what Alice keeps in her head
    let alice1, alice2, alice3, bob1, bob2, devices, roomId, before, backupVersion;

    await step("encryption: accounts and devices", async () => {
        alice1 = await (await signUp("alice", people)).start();
        bob1 = await (await signUp("bob")).start();
        alice2 = await (await logIn("alice", people)).start();
        bob2 = await (await logIn("bob")).start();
        devices = [alice1, alice2, bob1, bob2];
    });

    await step("encryption: cross-signing, secret storage and key backup", async () => {
        await alice1.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: alice1.authenticate });
        await alice1.crypto.bootstrapSecretStorage({
            createSecretStorageKey: () => alice1.crypto.createRecoveryKeyFromPassphrase("what only Alice knows"),
            setupNewSecretStorage: true,
            setupNewKeyBackup: true,
        });
        check(await alice1.crypto.isCrossSigningReady(), "cross-signing is ready on the first device");
        check(await alice1.crypto.isSecretStorageReady(), "secret storage is ready on the first device");
        backupVersion = await eventually("the backup is on", () => alice1.crypto.getActiveSessionBackupVersion());
        await bob1.crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: bob1.authenticate });
    });

    await step("encryption: the second device takes over the identity from secret storage", async () => {
        await eventually("the second device hears of the identity", () => alice2.crypto.userHasCrossSigningKeys());
        await alice2.crypto.bootstrapCrossSigning({});
        await eventually("the second device is signed by its owner", async () => (await alice2.crypto.getDeviceVerificationStatus(alice2.userId, alice2.deviceId)).signedByOwner);
        check(await alice2.crypto.isCrossSigningReady(), "cross-signing is ready on the second device");
        await alice2.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
        const backup = await alice2.crypto.checkKeyBackupAndEnable();
        equal(backup?.backupInfo.version, backupVersion, "the backup that the second device uses");
    });

    await step("encryption: an encrypted room", async () => {
        const { room_id: id } = await alice1.client.createRoom({ preset: "private_chat", name: "the study", invite: [bob1.userId], initial_state: [megolm] });
        roomId = id;
        await until("Bob is invited", () => bob1.room(roomId)?.getMyMembership() === "invite");
        equal(bob1.room(roomId).name, "the study", "the name of the room that Bob is invited to");
        await bob1.client.joinRoom(roomId);
        for (const d of devices) await d.in(roomId);
        for (const d of devices) await until(`${d.name} knows that the room is encrypted`, () => d.room(roomId).hasEncryptionStateEvent());
        await until("Alice sees Bob in the room", () => alice1.room(roomId).getMember(bob1.userId)?.membership === "join");
    });

    await step("encryption: everybody reads what anybody says", async () => {
        before = [];
        for (const d of devices) {
            const text = `hello from ${d.name}`;
            before.push([await d.says(roomId, text), text]);
            for (const reader of devices) {
                const event = await reader.reads(roomId, ...before.at(-1));
                equal(event.getWireType(), "m.room.encrypted", "what the server has of the message");
            }
        }
    });

    await step("encryption: others see which devices are their owner's own", async () => {
        equal(await devicesOf(alice1, bob1), [alice1.deviceId, alice2.deviceId].sort(), "the devices of Alice that Bob knows");
        for (const a of [alice1, alice2]) {
            await eventually(`Bob sees that ${a.name} is signed by Alice`, async () => (await bob1.crypto.getDeviceVerificationStatus(a.userId, a.deviceId))?.signedByOwner);
        }
        check(await alice1.crypto.userHasCrossSigningKeys(bob1.userId, true), "Alice can fetch the identity of Bob");
    });

    if (cluster) {
        await step("encryption: the room moves from node to node", async () => {
            for (const d of devices) {
                await ask(`move ${roomId}`);
                const text = `on we go, ${d.name}`;
                before.push([await d.says(roomId, text), text]);
                for (const reader of devices) await reader.reads(roomId, ...before.at(-1));
            }
        });
    }

    await step("encryption: the server is killed and started again", async () => {
        await ask("kill");
        for (const d of devices) {
            const text = `still here, ${d.name}`;
            before.push([await again(() => d.says(roomId, text)), text]);
            for (const reader of devices) await reader.reads(roomId, ...before.at(-1));
        }
    });

    await step("encryption: a new device restores the backup and reads everything", async () => {
        await eventually("the server has all keys in the backup", async () => {
            const { count } = await get(alice1, `/room_keys/version/${backupVersion}`);
            return count >= devices.length;
        });
        alice3 = await (await logIn("alice", people)).start();
        await alice3.in(roomId);
        await eventually("the new device hears of the identity", () => alice3.crypto.userHasCrossSigningKeys());
        await alice3.crypto.bootstrapCrossSigning({});
        await alice3.crypto.loadSessionBackupPrivateKeyFromSecretStorage();
        await alice3.crypto.checkKeyBackupAndEnable();
        const { imported, total } = await alice3.crypto.restoreKeyBackup();
        check(total >= devices.length && imported === total, `all keys of the backup are imported: ${imported} of ${total}`);
        for (const message of before) {
            while (!alice3.find(roomId, message[0])) {
                check(alice3.room(roomId).oldState.paginationToken, "the history goes on until the first message");
                await alice3.client.scrollback(alice3.room(roomId), 20);
            }
            await alice3.reads(roomId, ...message);
        }
        const text = "from the new device";
        const id = await alice3.says(roomId, text);
        for (const d of devices) await d.reads(roomId, id, text);
    });

    await step("encryption: a device that logs out gets no more keys", async () => {
        const gone = alice2.deviceId;
        alice2.client.stopClient();
        await alice2.client.logout(true);
        await eventually("Bob no longer knows the device", async () => !(await devicesOf(alice1, bob1)).includes(gone));
        const text = "not for the one who left";
        const id = await bob1.says(roomId, text);
        await alice3.reads(roomId, id, text);
        const { devices: left } = await alice1.client.getDevices();
        equal(left.map((d) => d.device_id).sort(), [alice1.deviceId, alice3.deviceId].sort(), "the devices that Alice has left");
    });

    for (const d of [alice1, alice3, bob1, bob2]) d.client.stopClient();
}

// devicesOf are those of the owner that somebody else knows.
export async function devicesOf(owner, other) {
    const known = await other.crypto.getUserDeviceInfo([owner.userId]);
    return [...(known.get(owner.userId)?.keys() ?? [])].sort();
}

function get(device, path) {
    return device.client.http.authedRequest("GET", path, undefined, undefined, { prefix: "/_matrix/client/v3" });
}
