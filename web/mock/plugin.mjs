// Answers the API in development when no server is named by SOJOURN_API.
export function apiMock() {
  return { name: 'sojourn-api-mock' };
}
