// [a widget's state, times] -> its frames, as Timeline.at has them.
([story, times]) => {
  const told = new window.kplab.Story(JSON.parse(story));
  return times.map((t) => {
    const { place, map, walk, ...rest } = told.frameAt(t);
    const lines = walk && walk.lines.map(({ place: number, ...line }) => line);
    return { ...rest, map: { ...map, place }, walk: walk && { ...walk, lines } };
  });
}
