using Verify;

return Entry.RunProcess(args, Stages.All);
