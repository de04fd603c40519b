// [a widget's state, steps] -> where each step led.
([story, steps]) => {
  const play = new window.kplab.Playback(new window.kplab.Story(JSON.parse(story)));
  return steps.map(([kind, by]) => {
    if (kind === "hop") play.stepHop(by); else play.stepRule(by);
    return play.position;
  });
}
