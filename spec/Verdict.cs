using System.Diagnostics.CodeAnalysis;

namespace Vcmm.Spec;

/// <summary>
/// What the model says to something observed: accepted, and the state that follows; or refused, with the invariant that it
/// breaks and one sentence.
/// </summary>
/// <typeparam name="TState">The state that the model keeps.</typeparam>
public readonly record struct Verdict<TState>
    where TState : class
{
    private readonly TState? _next;
    // A string, or what one is made of: most sentences are never read.
    private readonly object? _sentence;

    private Verdict(TState? next, Invariant broken, object? sentence)
    {
        _next = next;
        Broken = broken;
        _sentence = sentence;
    }

    /// <summary>Whether what was observed is permitted.</summary>
    [MemberNotNullWhen(true, nameof(_next))]
    [MemberNotNullWhen(false, nameof(_sentence))]
    public bool IsAccepted => _next is not null;

    /// <summary>The state that follows.</summary>
    /// <exception cref="InvalidOperationException">The verdict is a refusal.</exception>
    public TState Next => IsAccepted ? _next : throw new InvalidOperationException($"refused: {this}");

    /// <summary>The invariant that is broken; meaningless if the verdict is accepted.</summary>
    public Invariant Broken { get; }

    /// <summary>What was observed and what is permitted, in one sentence.</summary>
    /// <exception cref="InvalidOperationException">The verdict is not a refusal.</exception>
    public string Sentence => IsAccepted ? throw new InvalidOperationException("accepted: nothing to say") : _sentence.ToString()!;

    /// <summary>Permitted; <paramref name="next"/> follows.</summary>
    public static Verdict<TState> Accept(TState next) => new(next, default, null);

    /// <summary>Not permitted.</summary>
    public static Verdict<TState> Refuse(Invariant broken, string sentence) => new(null, broken, sentence);

    /// <summary>Not permitted; the sentence is put together when somebody reads it, of values that do not change.</summary>
    internal static Verdict<TState> RefuseLazily(Invariant broken, object sentence) => new(null, broken, sentence);

    /// <summary><c>accepted</c>, or <c>refused: I4 NoStaleAccess: …</c>.</summary>
    public override string ToString() => IsAccepted ? "accepted" : $"refused: {Broken.Label()}: {Sentence}";
}
