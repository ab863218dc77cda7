// The file sessions that run now, for the pages that show what runs.
import { api } from '../api/client';
import type { FileSession, FileSessionPage } from '../api/files';
import { Resource } from '../resource.svelte';

export const liveFileSessions = () => new Resource<FileSession[]>(async (signal) => (await api.get<FileSessionPage>('/file-sessions', { live: true, limit: 100 }, signal)).sessions);
