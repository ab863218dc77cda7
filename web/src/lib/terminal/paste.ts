// What is pasted, made safe to be handed to a shell.

/** Without the control characters that a terminal would obey; line ends and tabs stay. */
export function harmless(text: string): string {
  return text.replace(/\r\n?/g, '\n').replace(/[\u0000-\u0008\u000b-\u001f\u007f\u0080-\u009f]/g, '');
}

export function lineCount(text: string): number {
  return text.replace(/\n+$/, '').split('\n').length;
}

/** Whether to ask first: many lines in any case; with more than one, a shell that takes each for a command at once. */
export function deservesQuestion(text: string, bracketed: boolean): boolean {
  const lines = lineCount(text);
  return lines > 10 || text.length > 5_000 || (!bracketed && text.includes('\n') && (lines > 1 || text.endsWith('\n')));
}
