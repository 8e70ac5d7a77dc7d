/** Thrown by a handler that has sent its client to another host: the task is pending still, and ends there. */
export class MovedTask extends Error {
  constructor(location: string) {
    super(`the client was sent to ${location}`);
    this.name = "MovedTask";
  }
}
