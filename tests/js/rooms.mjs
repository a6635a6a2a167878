export async function rooms() {}
